"""Users and what they are members of, in a transaction."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tupli_auth.adapters.tables import MEMBERSHIPS, NAMES, ROLES, USERS
from tupli_auth.core.errors import NameRefused
from tupli_auth.core.names import check_name, folded
from tupli_schemas.access import BUILT_IN_ROLES, EVERYBODYS_ROLES, Right
from tupli_schemas.catalog import GLOBAL_SCOPE


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with an account; `owner` is who answers for a service account."""

    id: bytes
    name: str
    owner: bytes | None = None
    password_hash: str | None = None
    password_set_at: int | None = None

    def get_user_id(self) -> str:
        """What Authlib asks for; unused: tokens are made from `id`."""
        return self.id.hex()


class People:
    """Users, roles and memberships."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def by_name(self, name: str) -> User | None:
        """Who is called so, whatever the case."""
        holder = sa.select(NAMES.c.holder).where(NAMES.c.folded == folded(name)).scalar_subquery()
        return self._one(USERS.c.id == holder)

    def by_id(self, user: bytes) -> User | None:
        """Who has this id."""
        return self._one(USERS.c.id == user)

    def add(self, user: User, now_ms: int) -> None:
        """Give somebody an account.

        Raises:
            NameRefused: The name is none, or is taken.
        """
        check_name(user.name)
        try:
            with self._connection.begin_nested():
                self._connection.execute(sa.insert(NAMES).values(folded=folded(user.name), holder=user.id))
        except IntegrityError as error:
            raise NameRefused(f"the name {user.name!r} is taken") from error
        self._connection.execute(
            sa.insert(USERS).values(
                id=user.id,
                name=user.name,
                kind="person" if user.owner is None else "service",
                owner=user.owner,
                password_hash=user.password_hash,
                password_set_at=user.password_set_at,
                created_at=now_ms,
            )
        )

    def is_empty(self) -> bool:
        """Whether nobody has an account."""
        return self._connection.execute(sa.select(USERS.c.id).limit(1)).first() is None

    def set_password(self, user: bytes, password_hash: str, now_ms: int | None = None) -> None:
        """Keep another hash; `now_ms` when it is another password, None when it is the same one hashed anew."""
        values: dict[str, object] = {"password_hash": password_hash}
        if now_ms is not None:
            values["password_set_at"] = now_ms
        self._connection.execute(sa.update(USERS).where(USERS.c.id == user).values(values))

    def make_built_in_roles(self) -> None:
        """See to it that the built-in roles are there, with their rights."""
        for name, rights in BUILT_IN_ROLES.items():
            values = {"rights": _text_of(rights), "description": "", "is_built_in": True}
            changed = self._connection.execute(sa.update(ROLES).where(ROLES.c.name == name).values(values))
            if not changed.rowcount:
                self._connection.execute(sa.insert(ROLES).values(name=name, **values))

    def join(self, member: bytes, scope: str, roles: Iterable[str]) -> None:
        """Give somebody roles in a scope, in the place of those that he has there."""
        where = (MEMBERSHIPS.c.member == member) & (MEMBERSHIPS.c.scope == scope)
        self._connection.execute(sa.delete(MEMBERSHIPS).where(where))
        for role in sorted(set(roles)):
            self._connection.execute(sa.insert(MEMBERSHIPS).values(member=member, scope=scope, role=role))

    def held(self, member: bytes) -> dict[str, frozenset[Right]]:
        """The rights that somebody holds, by scope: those of everybody in `global`, and those of memberships."""
        found = {GLOBAL_SCOPE: _rights_of_all(BUILT_IN_ROLES[role] for role in EVERYBODYS_ROLES)}
        rows = self._connection.execute(
            sa.select(MEMBERSHIPS.c.scope, ROLES.c.rights)
            .join(ROLES, ROLES.c.name == MEMBERSHIPS.c.role)
            .where(MEMBERSHIPS.c.member == member)
        )
        for scope, rights in rows:
            found[scope] = found.get(scope, frozenset()) | {Right(one) for one in rights.split()}
        return found

    def _one(self, where: sa.ColumnElement[bool]) -> User | None:
        columns = (USERS.c.id, USERS.c.name, USERS.c.owner, USERS.c.password_hash, USERS.c.password_set_at)
        row = self._connection.execute(sa.select(*columns).where(where)).first()
        return None if row is None else User(*row)


def _text_of(rights: Iterable[Right]) -> str:
    return " ".join(sorted(rights))


def _rights_of_all(roles: Iterable[frozenset[Right]]) -> frozenset[Right]:
    return frozenset().union(*roles)
