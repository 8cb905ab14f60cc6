"""Names that a user gives, checked before anything is recorded under them."""

from tupli.errors import InvalidInput
from tupli_schemas.errors import ContractError
from tupli_schemas.names import check_name


def checked_name(name: str, place: str) -> str:
    """The name.

    Raises:
        InvalidInput: The server would refuse it; the message has the rule.
    """
    try:
        check_name(name, place)
    except ContractError as error:
        raise InvalidInput(error.reason, place=place) from error
    return name
