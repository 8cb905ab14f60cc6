"""Names that a user gives, checked before anything is recorded under them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tupli.errors import InvalidInput
from tupli_schemas.errors import ContractError
from tupli_schemas.keys import EPISODE_FIELDS
from tupli_schemas.names import check_name

_FIELDS: Final = frozenset(EPISODE_FIELDS)


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


def like_fields(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The names of metadata that are named like a field of episodes, each with what there is to tell of it."""
    if _FIELDS.isdisjoint(metadata):
        return
    for name in sorted(_FIELDS & metadata.keys()):
        yield name, f"metadata {name!r} is named like a field of episodes: in filters it is 'metadata.{name}'"
