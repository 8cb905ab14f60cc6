"""What the words of a scope mean, in those of people."""

from collections.abc import Iterable, Mapping
from typing import Final

from tupli_schemas.access import Reach

WORDS: Final[Mapping[str, str]] = {
    Reach.RECORD: "record: create benchmarks and record into those that you may read",
    Reach.READ: "read what you may read",
    Reach.PUBLISH: "publish and unpublish what is yours",
    Reach.DELETE: "delete what you may delete",
    Reach.ACCOUNT: "manage accounts, groups and tokens as you may",
    "openid": "learn who you are",
    "profile": "learn your name",
    "offline_access": "stay logged in",
}


def meaning(scope: Iterable[str]) -> list[str]:
    """The meaning of each word, in one order."""
    given = set(scope)
    return [text for word, text in WORDS.items() if word in given]
