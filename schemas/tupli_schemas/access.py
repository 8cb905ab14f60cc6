"""Who may do what: rights, roles, scopes, and the rules that every service enforces. Pure.

A scope is where rights are held: `global`, a group, or a user's own. Scopes other than `global` are ids of groups and
users as text, because a name may be given away and taken again.

A right over content counts in the scope in which it is held, and nowhere else: whoever may read what is published to
everybody does not read what is published to a group. A right over people and groups that is held in `global` counts in
every group.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tupli_schemas.catalog import GLOBAL_SCOPE
from tupli_schemas.ids import id_text


class Right(StrEnum):
    """The rights, as they are called on the wire."""

    BENCHMARK_CREATE = "benchmark_create"
    BENCHMARK_READ = "benchmark_read"
    BENCHMARK_DELETE = "benchmark_delete"
    ARTIFACT_CREATE = "artifact_create"
    ARTIFACT_READ = "artifact_read"
    ARTIFACT_DELETE = "artifact_delete"
    EPISODE_CREATE = "episode_create"
    EPISODE_READ = "episode_read"
    EPISODE_DELETE = "episode_delete"
    USER_CREATE = "user_create"
    USER_READ = "user_read"
    USER_UPDATE = "user_update"
    USER_DELETE = "user_delete"
    GROUP_CREATE = "group_create"
    GROUP_READ = "group_read"
    GROUP_UPDATE = "group_update"
    GROUP_DELETE = "group_delete"
    ROLE_MANAGEMENT = "role_management"


class Reach(StrEnum):
    """What a token allows of what its subject may: OAuth's scopes (RFC 6749 section 3.3), which only narrow."""

    RECORD = "record"
    """Create content and record into it."""
    READ = "read"
    """Read content."""
    PUBLISH = "publish"
    """Publish and unpublish content."""
    DELETE = "delete"
    """Delete content."""
    ACCOUNT = "account"
    """Everything about people: one's own account and tokens, users, groups, roles."""


class Kind(StrEnum):
    """What content there is."""

    BENCHMARK = "benchmark"
    ARTIFACT = "artifact"
    EPISODE = "episode"

    @property
    def create(self) -> Right:
        """The right to make such content, and to publish it."""
        return Right(f"{self}_create")

    @property
    def read(self) -> Right:
        """The right to read what others published."""
        return Right(f"{self}_read")

    @property
    def delete(self) -> Right:
        """The right to delete what others made."""
        return Right(f"{self}_delete")


ALL_RIGHTS: Final = frozenset(Right)
ALL_REACH: Final = frozenset(Reach)
CONTENT_REACH: Final = ALL_REACH - {Reach.ACCOUNT}
"""The most that a personal access token or a service account has."""
_CREATE: Final = frozenset(kind.create for kind in Kind)
_READ: Final = frozenset(kind.read for kind in Kind)
_DELETE: Final = frozenset(kind.delete for kind in Kind)
CONTENT_RIGHTS: Final = _CREATE | _READ | _DELETE

BUILT_IN_ROLES: Final[Mapping[str, frozenset[Right]]] = MappingProxyType(
    {
        "admin": ALL_RIGHTS,
        "content_admin": CONTENT_RIGHTS,
        "user_admin": frozenset(
            (Right.USER_CREATE, Right.USER_READ, Right.USER_UPDATE, Right.USER_DELETE),
        ),
        "group_admin": frozenset(
            (Right.GROUP_CREATE, Right.GROUP_READ, Right.GROUP_UPDATE, Right.GROUP_DELETE, Right.USER_READ),
        ),
        "contributor": _CREATE | _READ,
        "member": _READ | {Right.GROUP_READ, Right.USER_READ},
        "global_member": _READ | {Right.GROUP_CREATE, Right.USER_READ},
        "guest": _READ,
    }
)
EVERYBODYS_ROLES: Final = ("global_member", "contributor")
"""What everyone who has an account is in `global`."""
CREATORS_ROLES: Final = ("group_admin", "contributor")
"""What the creator of a group becomes in it."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller may do, by what he holds where, and by what his token lets through.

    `subject` is None for a guest. `held` has the rights by scope, the own one left out: it is always administered.
    """

    subject: bytes | None
    held: Mapping[str, frozenset[Right]] = field(default_factory=dict)
    reach: frozenset[Reach] = ALL_REACH

    @property
    def own_scope(self) -> str | None:
        """The scope in which new content is visible at first; a guest has none."""
        return None if self.subject is None else id_text(self.subject)

    # -- content -----------------------------------------------------------------------------------------------

    def may_create(self) -> bool:
        """Make content, which is visible in the own scope at first."""
        return Reach.RECORD in self.reach and self.subject is not None

    def may_read(self, kind: Kind, owner: bytes, published_in: Iterable[str]) -> bool:
        """Read an object: who owns it, and who holds READ in a scope that it is published in."""
        if Reach.READ not in self.reach:
            return False
        return owner == self.subject or any(self._holds(kind.read, scope) for scope in published_in)

    def readable(self, kind: Kind) -> frozenset[str]:
        """The scopes whose publications may be read, for those who cannot ask `may_read` of each object."""
        if Reach.READ not in self.reach:
            return frozenset()
        scopes = {scope for scope in self.held if self._holds(kind.read, scope)}
        return frozenset(scopes if self.own_scope is None else scopes | {self.own_scope})

    def may_record(self, owner: bytes, published_in: Iterable[str]) -> bool:
        """Record episodes into a benchmark: who may make episodes, and read the benchmark."""
        seen = Access(self.subject, self.held)  # recording needs no token that reads
        return self.may_create() and seen.may_read(Kind.BENCHMARK, owner, published_in)

    def may_delete(self, kind: Kind, owner: bytes) -> bool:
        """Delete an object: who owns it, and who holds DELETE in `global`."""
        if Reach.DELETE not in self.reach:
            return False
        return owner == self.subject or self._holds(kind.delete, GLOBAL_SCOPE)

    def may_publish(self, kind: Kind, owner: bytes, target: str) -> bool:
        """Publish an object: who owns it and holds CREATE in the target."""
        return Reach.PUBLISH in self.reach and owner == self.subject and self._holds(kind.create, target)

    def may_unpublish(self, kind: Kind, owner: bytes, target: str) -> bool:
        """End a publication: who owns the object, and who holds READ and DELETE in the target."""
        if Reach.PUBLISH not in self.reach:
            return False
        others = self._holds(kind.read, target) and self._holds(kind.delete, target)
        return owner == self.subject or others

    # -- people ------------------------------------------------------------------------------------------------

    def may_govern(self, right: Right, scope: str = GLOBAL_SCOPE) -> bool:
        """Use a right over users, roles, or a group: held in the group or in `global`. No group is a personal scope."""
        if right in CONTENT_RIGHTS or Reach.ACCOUNT not in self.reach or scope == self.own_scope:
            return False
        return self._holds(right, scope) or self._holds(right, GLOBAL_SCOPE)

    def may_give(self, rights: Iterable[Right], scope: str) -> bool:
        """Make somebody a member with these rights: nobody gives what he does not hold himself.

        A right over content that is held in `global` counts for those alone who may update every group.
        """
        if not (self.may_govern(Right.GROUP_UPDATE, scope) and self.may_govern(Right.USER_READ, scope)):
            return False
        everywhere = self.may_govern(Right.GROUP_UPDATE)
        return all(
            self._holds(right, scope)
            or ((everywhere or right not in CONTENT_RIGHTS) and self._holds(right, GLOBAL_SCOPE))
            for right in rights
        )

    def _holds(self, right: Right, scope: str) -> bool:
        if scope == self.own_scope:
            return True
        return right in self.held.get(scope, ())
