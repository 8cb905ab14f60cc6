"""OAuth clients, in a transaction."""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from tupli_auth.adapters.tables import CLIENTS

CLI: Final = "tupli-cli"
WEB: Final = "tupli-web"


@dataclass(frozen=True, slots=True)
class Client:
    """A program that asks for tokens; without a secret it is a public one.

    `grants` are the grant types that it may use, `scope` the most that its tokens allow, `acts_as` the service account
    of one that has tokens of its own (client credentials).
    """

    id: str
    name: str
    redirects: tuple[str, ...] = ()
    grants: frozenset[str] = frozenset()
    scope: frozenset[str] = frozenset()
    secret_hash: bytes | None = None
    acts_as: bytes | None = None
    may_introspect: bool = False
    is_built_in: bool = False


class Clients:
    """The clients that are registered."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def by_id(self, client: str) -> Client | None:
        """The client of this id."""
        row = self._connection.execute(sa.select(CLIENTS).where(CLIENTS.c.id == client)).first()
        if row is None:
            return None
        return Client(
            row.id,
            row.name,
            tuple(row.redirects.split()),
            frozenset(row.grants.split()),
            frozenset(row.scope.split()),
            row.secret_hash,
            row.acts_as,
            row.may_introspect,
            row.is_built_in,
        )

    def put(self, client: Client, now_ms: int) -> None:
        """Register a client, or register it anew."""
        values = {
            "name": client.name,
            "redirects": " ".join(client.redirects),
            "grants": " ".join(sorted(client.grants)),
            "scope": " ".join(sorted(client.scope)),
            "secret_hash": client.secret_hash,
            "acts_as": client.acts_as,
            "may_introspect": client.may_introspect,
            "is_built_in": client.is_built_in,
        }
        changed = self._connection.execute(sa.update(CLIENTS).where(CLIENTS.c.id == client.id).values(values))
        if not changed.rowcount:
            self._connection.execute(sa.insert(CLIENTS).values(id=client.id, created_at=now_ms, **values))
