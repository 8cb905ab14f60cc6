"""Logins on the pages, in a transaction: a cookie's hash, and whose it is."""

from dataclasses import dataclass

import sqlalchemy as sa

from tupli_auth.adapters.tables import SESSIONS


@dataclass(frozen=True, slots=True)
class Session:
    """A login; times in Unix milliseconds."""

    hash: bytes
    user: bytes
    logged_in_at: int
    seen_at: int


class Sessions:
    """Who is logged in. One that is not used for `idle_ms` is over."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def begin(self, session: Session, ends_at: int) -> None:
        """Keep a login."""
        self._connection.execute(
            sa.insert(SESSIONS).values(
                hash=session.hash,
                user=session.user,
                logged_in_at=session.logged_in_at,
                seen_at=session.seen_at,
                ends_at=ends_at,
            )
        )

    def find(self, session_hash: bytes, now_ms: int, idle_ms: int) -> Session | None:
        """A login that holds."""
        row = self._connection.execute(
            sa.select(SESSIONS).where(
                SESSIONS.c.hash == session_hash,
                SESSIONS.c.ends_at > now_ms,
                SESSIONS.c.seen_at > now_ms - idle_ms,
            )
        ).first()
        return None if row is None else Session(row.hash, row.user, row.logged_in_at, row.seen_at)

    def seen(self, session_hash: bytes, now_ms: int) -> None:
        """Note that somebody is there."""
        where = SESSIONS.c.hash == session_hash
        self._connection.execute(sa.update(SESSIONS).where(where).values(seen_at=now_ms))

    def end(self, session_hash: bytes) -> None:
        """Log out."""
        self._connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.hash == session_hash))

    def end_all_of(self, user: bytes, *, but: bytes | None = None) -> int:
        """End all logins of a user, but for one; how many."""
        where = SESSIONS.c.user == user
        if but is not None:
            where &= SESSIONS.c.hash != but
        return self._connection.execute(sa.delete(SESSIONS).where(where)).rowcount

    def forget_what_is_over(self, now_ms: int) -> None:
        """Remove logins whose time is over."""
        self._connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.ends_at <= now_ms))
