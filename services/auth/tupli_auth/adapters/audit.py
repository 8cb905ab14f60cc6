"""What happened: an append-only log of logins, failures, tokens and rights. No secret is in it."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import sqlalchemy as sa

from tupli_auth.adapters.tables import AUDIT


@dataclass(frozen=True, slots=True)
class Asker:
    """From where a request came."""

    address: str = ""
    client: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry, as it is read; times in Unix milliseconds."""

    number: int
    at: int
    what: str
    actor: bytes | None
    about: bytes | None
    asker: Asker
    details: Mapping[str, str]


class Audit:
    """The log, in the transaction of what it tells of: neither is there without the other."""

    def __init__(self, connection: sa.Connection, asker: Asker, now_ms: int) -> None:
        self._connection = connection
        self._asker = asker
        self._now_ms = now_ms

    def note(
        self, what: str, *, actor: bytes | None = None, about: bytes | None = None, **details: str
    ) -> None:
        """Add an entry: who did what, to whom."""
        self._connection.execute(
            sa.insert(AUDIT).values(
                at=self._now_ms,
                what=what,
                actor=actor,
                about=about,
                client=self._asker.client,
                address=self._asker.address,
                request_id=self._asker.request_id,
                details=orjson.dumps(details).decode(),
            )
        )


def entries(connection: sa.Connection, *, after: int = 0, most: int = 1_000) -> list[Entry]:
    """Entries from a number on, in their order."""
    rows = connection.execute(
        sa.select(AUDIT).where(AUDIT.c.number > after).order_by(AUDIT.c.number).limit(most)
    )
    return [
        Entry(
            row.number,
            row.at,
            row.what,
            row.actor,
            row.about,
            Asker(row.address, row.client, row.request_id),
            orjson.loads(row.details),
        )
        for row in rows
    ]
