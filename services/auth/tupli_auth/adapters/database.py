"""The database: one engine, and transactions that end whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from tupli_auth.core.errors import Unavailable, UnfitSetting

BUSY_SECONDS: Final = 10
"""For so long a transaction waits for another one, or for a connection."""
CONNECTIONS: Final = 10
_LOCK: Final = 7_402_117_301
"""Of PostgreSQL's advisory locks, ours."""
_DRIVERS: Final = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}


class Database:
    """Transactions on SQLite or PostgreSQL. Used by any number of threads."""

    def __init__(self, url: str) -> None:
        """Nothing is connected yet.

        Raises:
            UnfitSetting: The address is none of a database that is known here.
        """
        parsed = _known(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = (
            {"connect_args": {"timeout": BUSY_SECONDS, "check_same_thread": False}}
            if self.is_sqlite
            else {"connect_args": {"connect_timeout": BUSY_SECONDS}, "pool_pre_ping": True}
        )
        self.engine = sa.create_engine(
            parsed,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=BUSY_SECONDS,
            hide_parameters=True,
            **options,
        )
        if self.is_sqlite:
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction that writes: kept when the block ends, undone when it raises.

        On SQLite writers wait for one another from the beginning: none fails half-way because another was faster.

        Raises:
            Unavailable: The database does not answer, or others write for too long.
        """
        with _told(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def alone(self) -> Iterator[sa.Connection]:
        """`transaction`, of which there is one at a time: for what is done once, by several processes that begin at once.

        Raises:
            Unavailable: The database does not answer, or another one takes too long.
        """
        with self.transaction() as connection:
            if not self.is_sqlite:  # there writers wait for one another anyway
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that only reads: it waits for nobody.

        Raises:
            Unavailable: The database does not answer.
        """
        with _told(), self.engine.connect() as connection:
            reading = connection.execution_options(tupli_reads=True)
            with reading.begin():
                yield reading

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()


def _known(url: str) -> sa.URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UnfitSetting("TUPLI_AUTH_DATABASE is no address of a database") from error
    driver = _DRIVERS.get(parsed.get_backend_name())
    if driver is None:
        raise UnfitSetting(f"TUPLI_AUTH_DATABASE begins with none of {', '.join(_DRIVERS)}")
    if driver == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise UnfitSetting("TUPLI_AUTH_DATABASE names no file: accounts would end with the process")
    return parsed.set(drivername=driver)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (OperationalError, PoolTimeout) as error:
        raise Unavailable("the database does not answer") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable("the database does not answer") from error
        raise


def _prepare_sqlite(connection: Any, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # else the driver begins transactions itself, and later
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    reads = connection.get_execution_options().get("tupli_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
