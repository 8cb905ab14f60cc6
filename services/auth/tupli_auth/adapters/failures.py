"""How often a login failed lately, in a transaction."""

from collections.abc import Sequence

import sqlalchemy as sa

from tupli_auth.adapters.tables import FAILURES

FORGOTTEN_MS = 24 * 3_600 * 1_000


class Failures:
    """Failed logins, counted by where they came from."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def of(self, sources: Sequence[str], now_ms: int) -> dict[str, tuple[int, int]]:
        """How many there were, and when the last one was (Unix milliseconds), of each source that has any."""
        rows = self._connection.execute(
            sa.select(FAILURES).where(
                FAILURES.c.source.in_(sources), FAILURES.c.last_at > now_ms - FORGOTTEN_MS
            )
        )
        return {row.source: (row.failed, row.last_at) for row in rows}

    def add(self, source: str, now_ms: int) -> None:
        """Count one more."""
        forgotten = FAILURES.c.last_at <= now_ms - FORGOTTEN_MS
        changed = self._connection.execute(
            sa.update(FAILURES)
            .where(FAILURES.c.source == source)
            .values(failed=sa.case((forgotten, 1), else_=FAILURES.c.failed + 1), last_at=now_ms)
        )
        if not changed.rowcount:
            self._connection.execute(sa.insert(FAILURES).values(source=source, failed=1, last_at=now_ms))

    def forget(self, source: str) -> None:
        """Begin anew."""
        self._connection.execute(sa.delete(FAILURES).where(FAILURES.c.source == source))

    def forget_what_is_over(self, now_ms: int) -> None:
        """Remove those that count no more."""
        self._connection.execute(sa.delete(FAILURES).where(FAILURES.c.last_at <= now_ms - FORGOTTEN_MS))
