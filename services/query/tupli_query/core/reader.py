"""The port to the columnar store, as the query service reads it.

A `StoreReader` answers small selects at once and large ones as a stream of chunks. Every chunk is a complete
Arrow stream as the engine wrote it. A *session* is one caller's right to stream: there is a bounded number of
them, and one session streams one statement at a time.

    ReaderError
    ├── ReaderBusy         every session is taken: try again after `retry_after` seconds
    └── ReaderFailed       the engine could not answer; its own words stay on the server
        └── TooMuchToSort  the statement's `max_bytes_to_sort` is too little for it
"""

from dataclasses import dataclass
from typing import Any, Protocol


class Statement(Protocol):
    """A statement with server-side parameters (`{name:Type}`)."""

    @property
    def text(self) -> str:
        """The SQL, without a FORMAT clause; a SETTINGS clause comes last."""

    @property
    def params(self) -> dict[str, str]:
        """Parameters by name, as texts that the engine reads as they are."""


class ReaderError(Exception):
    """The store did not answer."""


class ReaderBusy(ReaderError):
    """Every session is taken."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"every read stream is taken, try again in {retry_after} s")
        self.retry_after = retry_after


class ReaderFailed(ReaderError):
    """The engine could not answer. The message is for the log, never for a caller."""


class TooMuchToSort(ReaderFailed):
    """The engine gave up before the first row: the statement's `max_bytes_to_sort` is too little."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a result: `data` is a complete Arrow stream of `rows` rows."""

    data: bytes
    rows: int


class ChunkStream(Protocol):
    """The chunks of one statement, in its order."""

    def fetch(self) -> Chunk | None:
        """The next chunk; None at the end.

        Raises:
            TooMuchToSort: Before the first chunk.
            ReaderFailed: The engine gave up midway.
        """

    def close(self) -> None:
        """Stop the statement, whether it is over or not."""


class ReadSession(Protocol):
    """The right to stream one statement at a time."""

    def open(self, statement: Statement, *, max_block_rows: int) -> ChunkStream:
        """Start a statement whose chunks have at most `max_block_rows` rows.

        Raises:
            ReaderFailed: The engine refuses it.
        """

    def close(self) -> None:
        """Give the right back."""


class StoreReader(Protocol):
    """Reads the columnar store. Every method may be called from any thread."""

    def select(self, statement: Statement) -> list[dict[str, Any]]:
        """All rows of a small result, texts as bytes, lists as lists, maps as lists of pairs.

        Raises:
            ReaderFailed: The engine could not answer.
        """

    def session(self) -> ReadSession:
        """One of the bounded number of sessions.

        Raises:
            ReaderBusy: All are taken.
        """
