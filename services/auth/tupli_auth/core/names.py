"""Names of users and groups: one name space, ASCII, without case. A name is never authority: identities are ids."""

import re
from typing import Final

from tupli_auth.core.errors import NameRefused
from tupli_schemas.catalog import GLOBAL_SCOPE
from tupli_schemas.ids import id_text

MAX_NAME: Final = 128
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._@-]{{0,{MAX_NAME - 1}}}")
DELETED: Final = "deleted-"
"""What somebody who was deleted is shown as begins so; nobody else may be called so."""
RESERVED: Final = frozenset(
    {GLOBAL_SCOPE, "all", "anonymous", "everyone", "guest", "local", "me", "public", "self"}
)
"""Words that mean a scope or a caller, here or on somebody's command line."""


def check_name(name: str) -> str:
    """The name itself, when a user or a group may have it.

    Raises:
        NameRefused: It is no name, or a word that means something else.
    """
    if _NAME.fullmatch(name) is None:
        raise NameRefused(
            f"a name has 1 to {MAX_NAME} letters, digits and ._@- of ASCII, and begins with a letter or a digit"
        )
    if folded(name) in RESERVED or folded(name).startswith(DELETED):
        raise NameRefused(f"{name!r} is a reserved word")
    return name


def folded(name: str) -> str:
    """What two names have in common that are the same but for their case."""
    return name.lower()  # ASCII alone: nothing else is a name


def deleted_name(subject: bytes) -> str:
    """How somebody is shown who was deleted: `deleted-` and the end of the id, which is random."""
    return DELETED + id_text(subject)[-12:]
