"""Who asks, and what they may see: part of every compiled query."""

from dataclasses import dataclass

from tupli_schemas.catalog import GLOBAL_SCOPE
from tupli_schemas.ids import LOCAL_SUBJECT, check_id


@dataclass(frozen=True, slots=True)
class Visibility:
    """The subject, and the scopes whose publications it may read (its groups; everybody reads `global`).

    An object is visible to its owner, and to who has one of the scopes that the owner published it in.
    """

    subject: bytes
    scopes: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_id(self.subject)
        object.__setattr__(self, "scopes", frozenset(self.scopes) | {GLOBAL_SCOPE})


LOCAL: Visibility = Visibility(LOCAL_SUBJECT)
"""The one user of an instance without accounts."""
