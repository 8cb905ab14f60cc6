"""The columnar store behind HTTP: ClickHouse through clickhouse-connect, read-only use of it.

A stream's answer is one Arrow stream. It is cut at its record batches into chunks, each with the schema before
it; no row is decoded. ClickHouse may fail after good rows, and says so in the middle of a body that looks
complete to every Arrow reader: an answer that ends without the stream's own end mark is a failure.
"""

import contextlib
import ssl
import threading
from pathlib import Path
from typing import Any, Final, Self

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver import httputil
from clickhouse_connect.driver.exceptions import ClickHouseError
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from urllib3.exceptions import HTTPError

from tupli_query.adapters.arrow_rows import failed, rows_of, with_settings
from tupli_query.core.reader import Chunk, ReaderBusy, Statement

MAX_SESSIONS: Final = 64
RETRY_AFTER_SECONDS: Final = 2
CONNECTIONS: Final = 80
_END_MARK: Final = b"\xff\xff\xff\xff\0\0\0\0"
"""How an Arrow stream ends (Arrow Columnar Format, IPC streaming format)."""
_TROUBLE: Final = (ClickHouseError, HTTPError, OSError, pa.ArrowException)


class ClickHouseConnection(BaseSettings):
    """`TUPLI_CLICKHOUSE_*`: the server, and the reader's account on it."""

    model_config = SettingsConfigDict(
        env_prefix="TUPLI_CLICKHOUSE_", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    host: str = Field(min_length=1)
    port: int = Field(default=8123, gt=0, lt=65_536)
    secure: bool = False
    ca_file: Path | None = Field(default=None, description="certificates that sign the server's")
    user: str = "default"
    password: SecretStr = SecretStr("")
    connect_timeout_s: int = Field(default=5, gt=0)
    answer_timeout_s: int = Field(default=60, gt=0, description="then a statement counts as not answered")
    cluster: str = Field(default="", description="name of the cluster, where there are replicas")

    @classmethod
    def from_environment(cls) -> Self:
        """What the environment says.

        Raises:
            ValidationError: Something is missing, or does not hold together.
            OSError: The file of certificates cannot be read, or is none; the message names it.
        """
        made = cls()  # type: ignore[call-arg]  # the environment has what is required
        if made.secure and made.ca_file is not None:
            _require_certificates(made.ca_file)  # else the server would look as if it were away
        return made

    def options(self) -> dict[str, Any]:
        """What clickhouse-connect takes."""
        return {
            "interface": "https" if self.secure else "http",
            "host": self.host,
            "port": self.port,
            "username": self.user,
            "password": self.password.get_secret_value(),
            "connect_timeout": self.connect_timeout_s,
            "send_receive_timeout": self.answer_timeout_s,
            "compress": False,
            "query_retries": 0,
            "autogenerate_session_id": False,  # a session takes one statement at a time
            # A replica that lacks what is written refuses the query.
            "settings": {"select_sequential_consistency": 1} if self.cluster else {},
            "pool_mgr": httputil.get_pool_manager(
                maxsize=CONNECTIONS, ca_cert=None if self.ca_file is None else str(self.ca_file)
            ),
        }


def _require_certificates(path: Path) -> None:
    try:
        path.open("rb").close()
        ssl.create_default_context(cafile=path)
    except OSError as error:
        why = error.strerror if error.filename else "no certificates"
        raise OSError(error.errno, f"TUPLI_CLICKHOUSE_CA_FILE: {why}", str(path)) from error


class ClickHouseReader:
    """A `StoreReader` over a server; it connects when it is first asked.

    Args:
        connection: The server.
        max_sessions: How many streams may be open at once.
    """

    def __init__(self, connection: ClickHouseConnection, *, max_sessions: int = MAX_SESSIONS) -> None:
        self._options = connection.options()
        self._sessions = threading.BoundedSemaphore(max_sessions)
        self._connecting = threading.Lock()
        self._made: Any = None

    def select(self, statement: Statement) -> list[dict[str, Any]]:
        """All rows of a small result; see `StoreReader.select`."""
        try:
            raw = self._client.raw_query(with_settings(statement.text), _params(statement), fmt="Arrow")
            return rows_of(pa.ipc.open_file(pa.py_buffer(raw)).read_all()) if raw else []
        except _TROUBLE as error:
            raise failed(statement, error) from error

    def session(self) -> "ClickHouseSession":
        """The right to stream; see `StoreReader.session`."""
        if not self._sessions.acquire(blocking=False):
            raise ReaderBusy(RETRY_AFTER_SECONDS)
        return ClickHouseSession(self)

    def close(self) -> None:
        """Let go of the connections."""
        if self._made is not None:
            self._made.close()

    def open(self, statement: Statement, max_block_rows: int) -> "ClickHouseStream":
        """Start a statement whose answer is streamed."""
        text = with_settings(statement.text, max_block_size=max(max_block_rows, 1))
        try:
            answer = self._client.raw_stream(text, _params(statement), fmt="ArrowStream")
        except _TROUBLE as error:
            raise failed(statement, error) from error
        return ClickHouseStream(answer, statement)

    def release(self) -> None:
        """Take a session's right back."""
        self._sessions.release()

    @property
    def _client(self) -> Any:
        with self._connecting:
            if self._made is None:
                self._made = clickhouse_connect.get_client(**self._options)
        return self._made


class ClickHouseSession:
    """A `ReadSession`: one statement's answer at a time."""

    def __init__(self, reader: ClickHouseReader) -> None:
        self._reader = reader
        self._stream: ClickHouseStream | None = None
        self._open = True

    def open(self, statement: Statement, *, max_block_rows: int) -> "ClickHouseStream":
        """Start a statement; the one before is stopped."""
        self._stop()
        self._stream = self._reader.open(statement, max_block_rows)
        return self._stream

    def close(self) -> None:
        """Give the right back. May be called twice."""
        if self._open:
            self._open = False
            self._stop()
            self._reader.release()

    def _stop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class ClickHouseStream:
    """A `ChunkStream` over the body of an answer."""

    def __init__(self, answer: Any, statement: Statement) -> None:
        self._answer = answer
        self._body = _Body(answer)
        self._statement = statement
        self._messages: Any = None
        self._schema: Any = None
        self._head = b""
        self._over = False

    def fetch(self) -> Chunk | None:
        """The next chunk with rows in it; None at the end."""
        while not self._over:
            try:
                chunk = self._next()
            except StopIteration:
                self._over = True
                self._check_end()
            except _TROUBLE as error:
                self._over = True
                raise failed(self._statement, error) from error
            else:
                if chunk.rows:
                    return chunk
        return None

    def close(self) -> None:
        """Stop the statement: a server cancels what nobody reads."""
        self._over = True
        with contextlib.suppress(*_TROUBLE):  # it is given up either way
            self._answer.close()

    def _check_end(self) -> None:
        """Nothing stands behind the end mark, and the mark is there."""
        is_marked = self._body.tail == _END_MARK
        try:
            more = self._body.read(1)
        except _TROUBLE as error:
            raise failed(self._statement, error) from error
        if more or not is_marked:
            raise failed(self._statement, EOFError("the answer was cut short, or has more behind its end"))

    def _next(self) -> Chunk:
        if self._messages is None:
            self._messages = pa.ipc.MessageReader.open_stream(pa.PythonFile(self._body, mode="r"))
            message = self._messages.read_next_message()
            self._schema = pa.ipc.read_schema(message)
            self._head = message.serialize().to_pybytes()
        message = self._messages.read_next_message()
        rows = pa.ipc.read_record_batch(message, self._schema).num_rows
        return Chunk(b"".join((self._head, message.serialize(), _END_MARK)), rows)


class _Body:
    """The body of an answer as a file that remembers the last bytes that were read."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.tail = b""
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._answer.read(None if size < 0 else size)
        self.tail = (self.tail + data[-8:])[-8:]
        return data

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


class _AsItIs:
    """A parameter that is written already as the engine reads it: the driver must not escape it once more."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def _params(statement: Statement) -> dict[str, _AsItIs]:
    return {name: _AsItIs(text) for name, text in statement.params.items()}
