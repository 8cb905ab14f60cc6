"""The words of OAuth's `scope`: what a token lets through (`Reach`), and those of OpenID Connect."""

from typing import Final

from tupli_schemas.access import ALL_REACH

OPENID: Final = frozenset({"openid", "profile", "offline_access"})
SCOPES: Final = OPENID | frozenset(str(one) for one in ALL_REACH)


def granted(asked: str | None, most: frozenset[str]) -> frozenset[str] | None:
    """The words of what is asked for; all that are possible where nothing is asked for, and None where one is not."""
    if asked is None:
        return most
    words = frozenset(asked.split())
    return words if words <= most else None


def text_of(scope: frozenset[str]) -> str:
    """The words in one order."""
    return " ".join(sorted(scope))
