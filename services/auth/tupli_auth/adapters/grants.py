"""Authorization codes and refresh tokens, in a transaction. Nobody reads a token here: there are only hashes."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from tupli_auth.adapters.tables import CODES, FAMILIES, REFRESH

REPEAT_MS: Final = 5_000
"""For so long an answer that was lost may be asked for again (DESIGN 8)."""


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code, by its hash; `family` is what it was exchanged for."""

    hash: bytes
    client: str
    user: bytes
    redirect: str
    scope: frozenset[str]
    challenge: str
    nonce: str | None
    logged_in_at: int
    ends_at: int
    family: bytes | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """A login of a client: all the refresh tokens that came of one another."""

    id: bytes
    client: str
    user: bytes
    scope: frozenset[str]
    logged_in_at: int
    ends_at: int
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class Refresh:
    """A refresh token, by its hash, and its family."""

    hash: bytes
    family: Family
    ends_at: int
    used_at: int | None
    nonce: bytes | None


class Grants:
    """What people granted to clients. Rows that are taken are locked until the transaction ends."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    # -- codes -------------------------------------------------------------------------------------------------

    def keep_code(self, code: Code) -> None:
        """Keep a code that was just made."""
        self._connection.execute(
            sa.insert(CODES).values(
                hash=code.hash,
                client=code.client,
                user=code.user,
                redirect=code.redirect,
                scope=_text_of(code.scope),
                challenge=code.challenge,
                nonce=code.nonce,
                logged_in_at=code.logged_in_at,
                ends_at=code.ends_at,
            )
        )

    def take_code(self, code_hash: bytes) -> Code | None:
        """A code, used or not."""
        row = self._connection.execute(
            sa.select(CODES).where(CODES.c.hash == code_hash).with_for_update()
        ).first()
        if row is None:
            return None
        return Code(
            row.hash,
            row.client,
            row.user,
            row.redirect,
            _words(row.scope),
            row.challenge,
            row.nonce,
            row.logged_in_at,
            row.ends_at,
            row.family,
        )

    def use_code(self, code_hash: bytes, family: bytes) -> None:
        """Note what a code was exchanged for: it is used."""
        self._connection.execute(sa.update(CODES).where(CODES.c.hash == code_hash).values(family=family))

    # -- refresh tokens ----------------------------------------------------------------------------------------

    def begin(self, family: Family, now_ms: int) -> None:
        """Begin a family."""
        self._connection.execute(
            sa.insert(FAMILIES).values(
                id=family.id,
                client=family.client,
                user=family.user,
                scope=_text_of(family.scope),
                created_at=now_ms,
                logged_in_at=family.logged_in_at,
                ends_at=family.ends_at,
            )
        )

    def add(self, token_hash: bytes, family: bytes, now_ms: int, ends_at: int) -> None:
        """Add a refresh token to its family."""
        self._connection.execute(
            sa.insert(REFRESH).values(hash=token_hash, family=family, issued_at=now_ms, ends_at=ends_at)
        )

    def take(self, token_hash: bytes) -> Refresh | None:
        """A refresh token, used or not, whether its family was revoked or not.

        The family is locked before its tokens are looked at: whoever takes another of them waits.
        """
        where = REFRESH.c.hash == token_hash
        of = self._connection.execute(sa.select(REFRESH.c.family).where(where)).scalar()
        family = None if of is None else self.family(of)
        found = self._connection.execute(sa.select(REFRESH).where(where)).first()
        if found is None or family is None:
            return None
        return Refresh(found.hash, family, found.ends_at, found.used_at, found.nonce)

    def was_used(self, token_hash: bytes) -> bool:
        """Whether a token was exchanged."""
        found = sa.select(REFRESH.c.used_at).where(REFRESH.c.hash == token_hash)
        return self._connection.execute(found).scalar() is not None

    def use(self, token_hash: bytes, nonce: bytes, now_ms: int) -> None:
        """Note that a token was exchanged, and what its successor is made with."""
        self._connection.execute(
            sa.update(REFRESH).where(REFRESH.c.hash == token_hash).values(used_at=now_ms, nonce=nonce)
        )

    def forget_nonces(self, family: bytes, but: bytes) -> None:
        """From now on the successors of a family's tokens can be made no more, but for one."""
        self._connection.execute(
            sa.update(REFRESH).where(REFRESH.c.family == family, REFRESH.c.hash != but).values(nonce=None)
        )

    def family(self, family: bytes) -> Family | None:
        """A family, revoked or not."""
        return self._family(sa.select(FAMILIES).where(FAMILIES.c.id == family).with_for_update())

    def look_at(self, family: bytes) -> Family | None:
        """`family`, which is not locked."""
        return self._family(sa.select(FAMILIES).where(FAMILIES.c.id == family))

    def _family(self, statement: sa.Select[Any]) -> Family | None:
        row = self._connection.execute(statement).first()
        if row is None:
            return None
        return Family(
            row.id, row.client, row.user, _words(row.scope), row.logged_in_at, row.ends_at, row.revoked_at
        )

    def revoke(self, family: bytes, why: str, now_ms: int) -> bool:
        """End a family; whether it had not ended."""
        where = (FAMILIES.c.id == family) & FAMILIES.c.revoked_at.is_(None)
        ended = self._connection.execute(sa.update(FAMILIES).where(where).values(revoked_at=now_ms, why=why))
        return ended.rowcount > 0

    def forget_what_is_over(self, now_ms: int) -> int:
        """Remove codes and families whose time is long over; how many rows."""
        gone = self._connection.execute(
            sa.delete(CODES).where(CODES.c.ends_at < now_ms - 86_400_000)
        ).rowcount
        over = FAMILIES.c.ends_at < now_ms - 86_400_000
        return gone + self._connection.execute(sa.delete(FAMILIES).where(over)).rowcount


def _text_of(scope: frozenset[str]) -> str:
    return " ".join(sorted(scope))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())
