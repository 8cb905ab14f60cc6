"""What a database has from its first start on: roles, the built-in clients, and the first administrator."""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from tupli_auth.adapters.clients import CLI, WEB, Client, Clients
from tupli_auth.adapters.people import People, User
from tupli_auth.core.scopes import SCOPES
from tupli_schemas.catalog import GLOBAL_SCOPE

CODE: Final = "authorization_code"
REFRESH: Final = "refresh_token"
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
LOOPBACK_REDIRECTS: Final = ("http://127.0.0.1/callback", "http://[::1]/callback")
"""Of a program on somebody's own machine; the port is any (RFC 8252 section 7.3)."""


@dataclass(frozen=True, slots=True)
class First:
    """The first administrator; without a password he has to set one by the link of the first start."""

    id: bytes
    name: str
    password_hash: str | None


def begin(connection: sa.Connection, first: First, issuer: str, now_ms: int) -> bool:
    """See to it that all of it is there; whether the administrator was made now.

    Raises:
        NameRefused: The administrator's name is none.
    """
    people, clients = People(connection), Clients(connection)
    people.make_built_in_roles()
    web, of_web = (f"{issuer}/web/callback",), frozenset({CODE, REFRESH})
    of_cli = of_web | {DEVICE, EXCHANGE}
    for client in (
        Client(CLI, "Tupli's command line", LOOPBACK_REDIRECTS, of_cli, SCOPES, is_built_in=True),
        Client(WEB, "Tupli's pages", web, of_web, SCOPES, is_built_in=True),
    ):
        clients.put(client, now_ms)
    if not people.is_empty():
        return False
    set_at = None if first.password_hash is None else now_ms
    people.add(User(first.id, first.name, None, first.password_hash, set_at), now_ms)
    people.join(first.id, GLOBAL_SCOPE, ["admin"])
    return True
