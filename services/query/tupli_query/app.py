"""The composition roots of the query service: over the engine in this process, and over a ClickHouse server."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

from starlette.applications import Starlette

from tupli_query.adapters.chdb_reader import ChdbReader
from tupli_query.adapters.clickhouse_reader import ClickHouseConnection, ClickHouseReader
from tupli_query.core.reader import ReaderError, StoreReader
from tupli_query.core.service import QueryService
from tupli_query.http.readiness import StoreProbe
from tupli_query.http.routes import make_app
from tupli_query.settings import QuerySettings

STORE_FOLDER: Final = "store"

Clock = Callable[[], int]
"""Unix nanoseconds."""


class ClosableReader(StoreReader, Protocol):
    """A reader whose connections end with the process."""

    def close(self) -> None:
        """Let go of them."""
        ...


class QueryParts:
    """The service in this process: `app` answers between `start` and `stop`."""

    def __init__(self, reader: ClosableReader, settings: QuerySettings, clock: Clock) -> None:
        self.reader = reader
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="tupli-query")
        self._service = QueryService(reader, clock)
        self._probe = StoreProbe(self._service.ready, self._threads)
        self.app: Starlette = make_app(
            self._service, self._threads, self._probe, idle_seconds=settings.idle_seconds
        )

    def start(self) -> None:
        """Nothing has to be started: connections are made when they are needed."""

    async def ready(self) -> dict[str, str | None]:
        """What this part needs, and what is wrong with it (None: nothing); also while the store hangs."""
        try:
            await self._probe.answered()
        except ReaderError:
            return {"query.store": "the store does not answer"}
        return {"query.store": None}

    def stop(self) -> None:
        """Let go of the store. Streams that are still open end first."""
        self._threads.shutdown(wait=True)
        self.reader.close()


def build(
    settings: QuerySettings | None = None, *, data_dir: Path, clock: Clock = time.time_ns
) -> QueryParts:
    """The service over the engine's folder `store` in `data_dir`.

    Args:
        settings: Limits; those of the environment when left out.
        data_dir: The data directory.
        clock: Unix nanoseconds.
    """
    settings = QuerySettings() if settings is None else settings
    reader = ChdbReader(str(data_dir / STORE_FOLDER), max_sessions=settings.max_streams)
    return QueryParts(reader, settings, clock)


def build_over_http(
    settings: QuerySettings, clickhouse: ClickHouseConnection, *, clock: Clock = time.time_ns
) -> QueryParts:
    """The service over a ClickHouse server; it need not be there yet."""
    return QueryParts(ClickHouseReader(clickhouse, max_sessions=settings.max_streams), settings, clock)
