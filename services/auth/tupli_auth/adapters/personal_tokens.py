"""Personal access tokens, in a transaction: each is a family of its own, without refresh tokens."""

from dataclasses import dataclass

import sqlalchemy as sa

from tupli_auth.adapters.tables import FAMILIES, PERSONAL


@dataclass(frozen=True, slots=True)
class PersonalToken:
    """A personal access token, without itself; times in Unix milliseconds."""

    family: bytes
    user: bytes
    name: str
    scope: frozenset[str]
    created_at: int
    ends_at: int
    used_at: int | None


class PersonalTokens:
    """The tokens that people made for their programs."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def keep(self, family: bytes, token_hash: bytes, name: str) -> None:
        """Keep a token of a family that was just begun."""
        self._connection.execute(sa.insert(PERSONAL).values(family=family, hash=token_hash, name=name))

    def find(self, token_hash: bytes, now_ms: int) -> PersonalToken | None:
        """A token that holds."""
        found = self._all(PERSONAL.c.hash == token_hash, now_ms)
        return found[0] if found else None

    def of(self, user: bytes, now_ms: int) -> list[PersonalToken]:
        """The tokens of a user that hold, the oldest first."""
        return self._all(FAMILIES.c.user == user, now_ms)

    def used(self, family: bytes, now_ms: int) -> None:
        """Note that a token was used."""
        self._connection.execute(
            sa.update(PERSONAL).where(PERSONAL.c.family == family).values(used_at=now_ms)
        )

    def _all(self, where: sa.ColumnElement[bool], now_ms: int) -> list[PersonalToken]:
        holds = FAMILIES.c.revoked_at.is_(None) & (FAMILIES.c.ends_at > now_ms)
        rows = self._connection.execute(
            sa.select(PERSONAL, FAMILIES)
            .join(FAMILIES, FAMILIES.c.id == PERSONAL.c.family)
            .where(where, holds)
            .order_by(FAMILIES.c.created_at, FAMILIES.c.id)
        )
        return [
            PersonalToken(
                row.family,
                row.user,
                row.name,
                frozenset(row.scope.split()),
                row.created_at,
                row.ends_at,
                row.used_at,
            )
            for row in rows
        ]
