"""Names that a user gives, checked before anything is recorded under them."""

from collections.abc import Sequence

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


def scopes_of(publish_in: str | Sequence[str] | None) -> tuple[str, ...]:
    """The scopes that a user gives: none, one, or several.

    Raises:
        InvalidInput: One is no name, as the server would say of each episode; the message has the rule.
    """
    if publish_in is None:
        return ()
    scopes = (publish_in,) if isinstance(publish_in, str) else tuple(publish_in)
    return tuple(checked_name(scope, "publish_in") for scope in scopes)
