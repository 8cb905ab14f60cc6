"""The event log in SQLite: WAL, `synchronous=FULL`, one writer thread that commits in groups.

Each topic is one table with AUTOINCREMENT ids, which are never reused; a record's offset is its id less one,
so offsets count from 0 without holes. Appends wait in a queue bounded by bytes; whatever waits when the
writer comes round becomes one transaction and one fsync, and is acknowledged only after it. A request's
records stand in one transaction: all of them or none.
"""

import asyncio
import contextlib
import secrets
import shutil
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tupli_ingest.core.errors import LogFull, LogUnavailable, Overloaded
from tupli_schemas.events import CATALOG_TOPIC, DEAD_LETTERS_TOPIC, EPISODES_TOPIC
from tupli_schemas.records import NewRecord, Position, Record

TABLES: Final = {EPISODES_TOPIC: "episodes", CATALOG_TOPIC: "catalog", DEAD_LETTERS_TOPIC: "dead_letters"}
PAGE_BYTES: Final = 16 * 1024
READ_BUSY_MS: Final = 5_000

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS checkpoints
        (grp TEXT, topic TEXT, next_offset INTEGER NOT NULL, PRIMARY KEY (grp, topic)) STRICT""",
    *(
        f"CREATE TABLE IF NOT EXISTS {table}"
        " (id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL, value BLOB NOT NULL) STRICT"
        for table in TABLES.values()
    ),
)


@dataclass(frozen=True, slots=True)
class LogLimits:
    """Bounds, in bytes: what may wait, what one commit takes, and the free space that an append leaves."""

    queue_bytes: int = 128 * 1024 * 1024
    commit_bytes: int = 16 * 1024 * 1024
    reserve_bytes: int = 64 * 1024 * 1024


@dataclass(slots=True)
class _Append:
    topic: str
    rows: list[tuple[bytes, bytes]]
    size: int
    done: "Future[list[int]]"


@dataclass(slots=True)
class _Checkpoint:
    group: str
    topic: str
    next_offset: int


def free_bytes(path: Path) -> int:
    """Bytes that are free for us on the file system of `path`."""
    return shutil.disk_usage(path).free


class SqliteLog:
    """`EventLog` over one SQLite file.

    Raises:
        LogUnavailable: The file cannot be opened, or is no log.
    """

    def __init__(
        self, path: Path, *, limits: LogLimits | None = None, free: Callable[[Path], int] = free_bytes
    ) -> None:
        self._path = path
        self._limits = limits or LogLimits()
        self._free = free
        self._queue: deque[_Append | _Checkpoint] = deque()
        self._queued_bytes = 0
        self._wake = threading.Condition()
        self._closing = False
        self._readers = _Readers(path)
        with _translated():
            self._connection = _open_writer(path)
            self._next = {topic: _next_offset(self._connection, table) for topic, table in TABLES.items()}
            self.generation = int(_meta(self._connection, "generation", "1"))
            self.identity = _meta(self._connection, "identity", secrets.token_hex(16))
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """Append all records in one transaction; durable when this returns.

        Raises:
            Overloaded: Too much waits already.
            LogFull: There is no space; nothing was written.
            LogUnavailable: The log cannot be written; whether it was is not known.
        """
        done = self._submit(topic, records)
        offsets = await asyncio.wrap_future(done)
        return [Position(self.generation, 0, offset) for offset in offsets]

    def append_now(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """`append` for threads without an event loop (dead letters of the processor)."""
        offsets = self._submit(topic, records).result()
        return [Position(self.generation, 0, offset) for offset in offsets]

    def read(self, topic: str, start: int, *, max_bytes: int, max_records: int = 10_000) -> list[Record]:
        """Records from offset `start` on, in order, up to the bounds (at least one if there is one)."""
        sql = f"SELECT id, key, value FROM {TABLES[topic]} WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 -- our names
        records = []
        size = 0
        with _translated(), self._readers.connection() as connection:
            for row_id, key, value in connection.execute(sql, (start, max_records)):
                records.append(Record.from_bytes(Position(self.generation, 0, row_id - 1), key, value))
                size += len(value)
                if size >= max_bytes:
                    break
        return records

    def end(self, topic: str) -> int:
        """The offset that the next record will have."""
        with self._wake:
            return self._next[topic]

    def wait(self, topic: str, offset: int, timeout: float) -> bool:
        """Wait until the topic reaches beyond `offset`, at most `timeout` seconds; whether it does."""
        with self._wake:
            return self._wake.wait_for(lambda: self._next[topic] > offset or self._closing, timeout)

    def wake(self) -> None:
        """End all waits early (a thread that waits looks whether it should stop)."""
        with self._wake:
            self._wake.notify_all()

    def checkpoint(self, group: str, topic: str) -> int:
        """The offset at which the group goes on; 0 for a new group."""
        sql = "SELECT next_offset FROM checkpoints WHERE grp = ? AND topic = ?"
        with _translated(), self._readers.connection() as connection:
            row = connection.execute(sql, (group, topic)).fetchone()
        return int(row[0]) if row else 0

    def commit(self, group: str, topic: str, next_offset: int) -> None:
        """Remember where the group goes on.

        It is written with the next group commit: losing it repeats work.
        """
        with self._wake:
            self._queue.append(_Checkpoint(group, topic, next_offset))
            self._wake.notify_all()

    @property
    def queued_bytes(self) -> int:
        """Bytes of records that wait to be written, or are being written."""
        return self._queued_bytes

    def writable(self) -> bool:
        """Whether an append would be tried now: the writer lives and there is space."""
        return self._thread.is_alive() and not self._closing and self._has_space(1)

    def close(self) -> None:
        """Write what waits, then close."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join()
        self._readers.close()

    def _submit(self, topic: str, records: Sequence[NewRecord]) -> "Future[list[int]]":
        rows = [(record.key, record.to_bytes()) for record in records]
        size = sum(len(value) for _, value in rows)
        with self._wake:
            if self._closing:
                raise LogUnavailable("the log is closing")
            if self._queued_bytes and self._queued_bytes + size > self._limits.queue_bytes:
                raise Overloaded("too much waits for the log")
            item = _Append(topic, rows, size, Future())
            self._queue.append(item)
            self._queued_bytes += size
            self._wake.notify_all()
        return item.done

    def _run(self) -> None:
        while self._write_next():
            pass
        self._connection.close()

    def _write_next(self) -> bool:
        """Write what waits; False when nothing will come.

        What was written is not held while the next is waited for.
        """
        if (batch := self._take()) is None:
            return False
        self._write(batch)
        return True

    def _take(self) -> "list[_Append | _Checkpoint] | None":
        """What waits, up to the bytes of one commit; None when the log is closed and nothing waits."""
        with self._wake:
            self._wake.wait_for(lambda: self._queue or self._closing)
            batch: list[_Append | _Checkpoint] = []
            size = 0
            while self._queue and size < self._limits.commit_bytes:
                item = self._queue.popleft()
                size += item.size if isinstance(item, _Append) else 0
                batch.append(item)
            return batch or None

    def _write(self, batch: "list[_Append | _Checkpoint]") -> None:
        appends = [item for item in batch if isinstance(item, _Append)]
        error: Exception | None = None
        offsets: list[list[int]] = []
        try:
            offsets = self._transaction(batch)
        except (LogFull, LogUnavailable) as failure:
            error = failure
        with self._wake:
            self._queued_bytes -= sum(item.size for item in appends)
            if error is None:
                for item in appends:
                    self._next[item.topic] += len(item.rows)
            self._wake.notify_all()
        _resolve(appends, offsets, error)

    def _transaction(self, batch: "list[_Append | _Checkpoint]") -> list[list[int]]:
        """Write the batch in one transaction; the offsets of each append in it."""
        with _translated():
            if not self._has_space(sum(item.size for item in batch if isinstance(item, _Append))):
                raise LogFull("the log's file system is full")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                offsets = self._insert(batch)
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                with contextlib.suppress(sqlite3.Error):  # a full disk may have rolled it back already
                    self._connection.execute("ROLLBACK")
                raise
        return offsets

    def _insert(self, batch: "list[_Append | _Checkpoint]") -> list[list[int]]:
        following = dict(self._next)
        offsets = []
        for item in batch:
            if isinstance(item, _Checkpoint):
                sql = "INSERT OR REPLACE INTO checkpoints (grp, topic, next_offset) VALUES (?, ?, ?)"
                self._connection.execute(sql, (item.group, item.topic, item.next_offset))
                continue
            first = following[item.topic]
            following[item.topic] += len(item.rows)
            sql = f"INSERT INTO {TABLES[item.topic]} (id, key, value) VALUES (?, ?, ?)"  # noqa: S608 -- our names
            rows = ((first + i + 1, key, value) for i, (key, value) in enumerate(item.rows))
            self._connection.executemany(sql, rows)
            offsets.append(list(range(first, following[item.topic])))
        return offsets

    def _has_space(self, size: int) -> bool:
        return self._free(self._path.parent) >= self._limits.reserve_bytes + 2 * size


class _Readers:
    """One read connection a thread, so that readers never wait for each other or for the writer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            connection.execute(f"PRAGMA busy_timeout = {READ_BUSY_MS}")
            connection.execute("PRAGMA query_only = ON")
            self._local.connection = connection
            with self._lock:
                self._all.append(connection)
        yield connection

    def close(self) -> None:
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()


def _open_writer(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {32 * 1024 * 1024 // PAGE_BYTES}")
    connection.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
    for statement in _SCHEMA:
        connection.execute(statement)
    return connection


def _next_offset(connection: sqlite3.Connection, table: str) -> int:
    """One more than the greatest offset ever given in the table (also when its rows were deleted)."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return int(row[0]) if row else 0


def _meta(connection: sqlite3.Connection, name: str, default: str) -> str:
    connection.execute("INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)", (name, default))
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return str(row[0])


def _resolve(appends: list[_Append], offsets: list[list[int]], error: Exception | None) -> None:
    """Answer who waits. A future whose request went away is cancelled already; its records stand."""
    for i, item in enumerate(appends):
        if not item.done.set_running_or_notify_cancel():
            continue
        if error is not None:
            item.done.set_exception(error)
        else:
            item.done.set_result(offsets[i])


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn SQLite's errors into the port's."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise LogFull("the log's file system is full") from error
        raise LogUnavailable(f"the log does not answer ({type(error).__name__})") from error
    except OSError as error:
        raise LogUnavailable(f"the log does not answer ({type(error).__name__})") from error
