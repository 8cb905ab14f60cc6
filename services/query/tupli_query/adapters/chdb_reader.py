"""The columnar store in this process: chDB, read-only use of it.

Small selects take turns on a few connections. Every session has a connection of its own, on which statements
run as `send_query(..., "ArrowStream")` with one thread, so that memory stays flat and inserts are not held up.
"""

import contextlib
import logging
import os
import queue
import threading
from typing import Any, Final

import chdb
import pyarrow as pa
from chdb import ChdbError

from tupli_query.adapters.arrow_rows import count_rows, failed, rows_of, with_settings
from tupli_query.core.reader import Chunk, ReaderBusy, ReaderFailed, Statement

LOGGER = logging.getLogger(__name__)

MAX_SESSIONS: Final = 16
SELECT_CONNECTIONS: Final = 4
RETRY_AFTER_SECONDS: Final = 2

_CONNECT: Final[Any] = chdb.connect
"""Of two packages that bring the same files, one has types and the other none: the later one installed wins."""


class ChdbReader:
    """A `StoreReader` over the chDB data at `path`, which this process may also be writing to.

    Args:
        path: The engine's folder.
        max_sessions: How many streams may be open at once.
    """

    def __init__(self, path: str, *, max_sessions: int = MAX_SESSIONS) -> None:
        self._path = os.path.realpath(
            path
        )  # as clickhouse-connect: a process has one engine, known by its path
        self._sessions = threading.BoundedSemaphore(max_sessions)
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        self._selects = threading.BoundedSemaphore(SELECT_CONNECTIONS)
        self._closed = False

    def select(self, statement: Statement) -> list[dict[str, Any]]:
        """All rows of a small result; see `StoreReader.select`."""
        with self._selects:
            connection = self._take()
            try:
                result = connection.query(
                    with_settings(statement.text), "Arrow", params=dict(statement.params)
                ).bytes()
            except (ChdbError, RuntimeError) as error:
                _drop(connection)
                raise failed(statement, error) from error
            self._give(connection)
        if not result:
            return []
        return rows_of(pa.ipc.open_file(pa.py_buffer(result)).read_all())

    def session(self) -> "ChdbSession":
        """The right to stream; see `StoreReader.session`."""
        if not self._sessions.acquire(blocking=False):
            raise ReaderBusy(RETRY_AFTER_SECONDS)
        return ChdbSession(self)

    def close(self) -> None:
        """Close the connections that nobody uses; those in use are closed when they are given back."""
        self._closed = True
        with contextlib.suppress(queue.Empty):
            while True:
                _drop(self._idle.get_nowait())

    def _take(self) -> Any:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            pass
        try:
            return _CONNECT(self._path)
        except (ChdbError, RuntimeError) as error:
            raise ReaderFailed(f"no connection to the store: {error}") from error

    def _give(self, connection: Any) -> None:
        if self._closed:
            _drop(connection)
        else:
            self._idle.put(connection)

    def _release(self) -> None:
        self._sessions.release()


class ChdbSession:
    """A `ReadSession` on a connection of its own, made when the first statement is opened."""

    def __init__(self, reader: ChdbReader) -> None:
        self._reader = reader
        self._connection: Any = None
        self._stream: ChdbStream | None = None
        self._open = True

    def open(self, statement: Statement, *, max_block_rows: int) -> "ChdbStream":
        """Start a statement; the one before is stopped."""
        self._stop()
        if self._connection is None:
            self._connection = self._reader._take()  # noqa: SLF001 - the session is a part of its reader
        text = with_settings(statement.text, max_block_size=max(max_block_rows, 1))
        try:
            result = self._connection.send_query(text, "ArrowStream", params=dict(statement.params))
        except (ChdbError, RuntimeError) as error:
            self._discard()
            raise failed(statement, error) from error
        self._stream = ChdbStream(result, statement)
        return self._stream

    def close(self) -> None:
        """Give connection and right back. May be called twice."""
        if not self._open:
            return
        self._open = False
        self._stop()
        if self._connection is not None:
            self._reader._give(self._connection)  # noqa: SLF001 - the session is a part of its reader
            self._connection = None
        self._reader._release()  # noqa: SLF001 - the session is a part of its reader

    def _stop(self) -> None:
        if self._stream is None:
            return
        self._stream.close()
        if self._stream.failed:
            self._discard()
        self._stream = None

    def _discard(self) -> None:
        if self._connection is not None:
            _drop(self._connection)
            self._connection = None


class ChdbStream:
    """A `ChunkStream` over chDB's streaming result."""

    def __init__(self, result: Any, statement: Statement) -> None:
        self._result = result
        self._statement = statement
        self._over = False
        self.failed = False

    def fetch(self) -> Chunk | None:
        """The next chunk with rows in it; None at the end."""
        while not self._over:
            try:
                part = self._result.fetch()
                data = part.bytes() if part is not None else b""
            except (ChdbError, RuntimeError) as error:
                self._over = self.failed = True
                raise failed(self._statement, error) from error
            if part is None:
                self._over = True
            elif data and (rows := count_rows(data)):
                return Chunk(data, rows)
        return None

    def close(self) -> None:
        """Cancel what still runs."""
        try:
            if not self._over:
                self._result.cancel()
            self._result.close()
        except (ChdbError, RuntimeError):
            self.failed = True
            LOGGER.warning("a read stream could not be stopped; its connection is dropped", exc_info=True)
        self._over = True


def _drop(connection: Any) -> None:
    with contextlib.suppress(ChdbError, RuntimeError):
        connection.close()
