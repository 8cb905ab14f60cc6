"""One request's work: the records in its transaction, and what the service is set up with."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from tupli_auth.adapters.audit import Asker, Audit
from tupli_auth.adapters.clients import Clients
from tupli_auth.adapters.database import Database
from tupli_auth.adapters.devices import Devices
from tupli_auth.adapters.failures import Failures
from tupli_auth.adapters.grants import Grants
from tupli_auth.adapters.people import People, User
from tupli_auth.adapters.personal_tokens import PersonalTokens
from tupli_auth.adapters.sealing import Sealer
from tupli_auth.adapters.sessions import Sessions
from tupli_auth.adapters.setup_links import SetupLinks
from tupli_auth.adapters.signing_keys import KeyTimes, SigningKey, SigningKeys, signing
from tupli_schemas.ids import make_id

KEYS_FRESH_MS: Final = 5_000
"""For so long keys are not read again: another process may have made or revoked one."""
DAY_MS: Final = 24 * 3_600 * 1_000


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long what is issued holds."""

    access_s: int = 600
    code_ms: int = 60_000
    refresh_ms: int = 30 * DAY_MS
    """A refresh token that is not used."""
    login_ms: int = 180 * DAY_MS
    """All tokens that came of one login."""


@dataclass(frozen=True, slots=True)
class Means:
    """What the service is set up with; `random` gives so many bytes, `clock` Unix milliseconds."""

    issuer: str
    audience: str
    sealer: Sealer
    random: Callable[[int], bytes]
    clock: Callable[[], int]
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    key_times: KeyTimes = field(default_factory=KeyTimes)

    def new_id(self) -> bytes:
        """An id of whatever there is (`tupli_schemas.ids`)."""
        return make_id(self.clock(), int.from_bytes(self.random(6), "big"))


@dataclass(slots=True)
class Login:
    """Of what a token comes: the family that it belongs to, and when somebody logged in (Unix milliseconds)."""

    family: bytes | None = None
    logged_in_at: int | None = None


class Work:
    """The records, in one transaction; nothing of it is kept when the transaction is undone."""

    def __init__(self, connection: sa.Connection, means: Means, asker: Asker, keys: list[SigningKey]) -> None:
        self.connection = connection
        self.means = means
        self.asker = asker
        self.now_ms = means.clock()
        self.people = People(connection)
        self.clients = Clients(connection)
        self.grants = Grants(connection)
        self.sessions = Sessions(connection)
        self.failures = Failures(connection)
        self.setup_links = SetupLinks(connection)
        self.devices = Devices(connection)
        self.personal_tokens = PersonalTokens(connection)
        self.audit = Audit(connection, asker, self.now_ms)
        self.keys = keys
        self.login = Login()

    @property
    def signing_key(self) -> SigningKey:
        """The key that signs now."""
        return signing(self.keys, self.now_ms)

    def user(self, user: bytes) -> User | None:
        """Who has an account."""
        return self.people.by_id(user)


class Office:
    """Opens transactions, and keeps the keys that they sign with. Used by any number of threads."""

    def __init__(self, database: Database, means: Means) -> None:
        self.database = database
        self.means = means
        self._keys: list[SigningKey] = []
        self._read_at = float("-inf")

    @contextmanager
    def work(self, asker: Asker) -> Iterator[Work]:
        """A transaction; kept when the block ends, undone when it raises.

        Raises:
            Unavailable: The database does not answer.
        """
        keys = self.signing_keys()
        with self.database.transaction() as connection:
            yield Work(connection, self.means, asker, keys)

    @contextmanager
    def alone(self, asker: Asker) -> Iterator[Work]:
        """`work`, of which there is one at a time in all processes."""
        keys = self.signing_keys()
        with self.database.alone() as connection:
            yield Work(connection, self.means, asker, keys)

    @contextmanager
    def look(self, asker: Asker) -> Iterator[Work]:
        """A transaction that only reads."""
        keys = self.signing_keys()
        with self.database.reading() as connection:
            yield Work(connection, self.means, asker, keys)

    def signing_keys(self) -> list[SigningKey]:
        """The keys that sign or verify, a few seconds old at most."""
        now = time.monotonic() * 1_000
        if now - self._read_at > KEYS_FRESH_MS:
            with self.database.reading() as connection:
                self._keys = SigningKeys(connection, self.means.sealer).all()
            self._read_at = now
        return self._keys

    def tend(self) -> None:
        """Make and retire keys as their times say, and forget what is over; to be called at the start and every so often."""
        with self.database.alone() as connection:
            SigningKeys(connection, self.means.sealer).tend(self.means.clock(), self.means.key_times)
            Grants(connection).forget_what_is_over(self.means.clock())
            Sessions(connection).forget_what_is_over(self.means.clock())
            Failures(connection).forget_what_is_over(self.means.clock())
            Devices(connection).forget_what_is_over(self.means.clock())
        self._read_at = float("-inf")
