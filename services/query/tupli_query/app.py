"""The composition root of the query service."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.applications import Starlette

from tupli_query.adapters.chdb_reader import ChdbReader
from tupli_query.core.reader import ReaderError
from tupli_query.core.service import QueryService
from tupli_query.http.routes import make_app
from tupli_query.settings import QuerySettings

STORE_FOLDER = "store"


class QueryParts:
    """The service in this process: `app` answers between `start` and `stop`."""

    def __init__(
        self, app: Starlette, service: QueryService, reader: ChdbReader, threads: ThreadPoolExecutor
    ) -> None:
        self.app = app
        self._service = service
        self.reader = reader
        self._threads = threads

    def start(self) -> None:
        """Nothing has to be started: connections are made when they are needed."""

    def ready(self) -> dict[str, str | None]:
        """What this part needs, and what is wrong with it (None: nothing)."""
        try:
            self._service.ready()
        except ReaderError:
            return {"query.store": "the store does not answer"}
        return {"query.store": None}

    def stop(self) -> None:
        """Let go of the store. Streams that are still open end first."""
        self._threads.shutdown(wait=True)
        self.reader.close()


def build(
    settings: QuerySettings | None = None, *, data_dir: Path, clock: Callable[[], int] = time.time_ns
) -> QueryParts:
    """The service over the engine's folder `store` in `data_dir`.

    Args:
        settings: Limits; those of the environment when left out.
        data_dir: The data directory.
        clock: Unix nanoseconds.
    """
    settings = QuerySettings() if settings is None else settings
    reader = ChdbReader(str(data_dir / STORE_FOLDER), max_sessions=settings.max_streams)
    threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="tupli-query")
    service = QueryService(reader, clock)
    app = make_app(service, threads, idle_seconds=settings.idle_seconds)
    return QueryParts(app, service, reader, threads)
