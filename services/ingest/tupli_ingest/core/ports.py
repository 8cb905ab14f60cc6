"""Ports of ingest: what its core and its composition root need from the world.

Words. A *topic* is an ordered list of records; an *offset* is a record's place in it, from 0, growing, never
reused (not necessarily without gaps). A *group* is one reader's name, with one committed offset a topic: the
offset of the next record to process. A *row* is a dictionary from column name to Python value, for the tables
of `tupli_schemas/clickhouse`. Everything that returns has happened durably; everything that raises may have
happened in part, and may be repeated.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import pyarrow as pa

from tupli_schemas.records import NewRecord, Position, Record
from tupli_schemas.steps import STEP_FIELDS, Layout

Row = dict[str, Any]
Table = Literal["episodes", "streams", "benchmarks", "publications", "deletions"]

NO_BENCHMARK = bytes(16)
"""Where the rows of an episode stand until its start has come; no benchmark has this id, no query sees it."""


class EventLog(Protocol):
    """The writing side of the log."""

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """Keep the records, in this order, all or none; durable on return.

        Offsets grow within the call and from call to call as readers see them: a reader that has seen an
        offset never finds a new record below it. An empty list is allowed.

        Raises:
            Overloaded: Too much waits already; nothing was kept.
            LogFull: There is no space; nothing was kept.
            LogUnavailable: The log does not answer; the records may have been kept.
        """
        ...


class LogReader(Protocol):
    """The reading side of the log; synchronous, for the processor's thread."""

    def read(self, topic: str, start: int, *, max_bytes: int, max_records: int = 10_000) -> list[Record]:
        """The records from offset `start` on, in order; only durable ones.

        At most `max_records` records and about `max_bytes`, but always at least one record if there is any.

        Raises:
            LogUnavailable: The log does not answer.
        """
        ...

    def end(self, topic: str) -> int:
        """The offset that the next record will have at least: 0 for an empty topic."""
        ...

    def wait(self, topic: str, offset: int, timeout: float) -> bool:
        """Wait up to `timeout` seconds until the topic reaches beyond `offset`; whether it does."""
        ...


class Checkpoints(Protocol):
    """Where groups go on. Losing the newest commit repeats work, no more."""

    def checkpoint(self, group: str, topic: str) -> int:
        """The offset of the next record that the group has to process; 0 when it never committed."""
        ...

    def commit(self, group: str, topic: str, next_offset: int) -> None:
        """Everything below `next_offset` is processed."""
        ...


@dataclass(frozen=True, slots=True)
class EpisodeKey:
    """Where an episode's rows stand: the sorting key of its tables, and its layout ("" without rows)."""

    benchmark: bytes
    owner: bytes
    episode: bytes
    layout: str


@dataclass(frozen=True, slots=True)
class StoredStream:
    """What the store knows of a stream.

    Attributes:
        stream: Its row of `streams`, if it has one.
        episodes: The asked-for rows of `episodes`; an episode can have two, one under `NO_BENCHMARK` and one
            under its benchmark.
        highest: The highest ordinal of its episodes that have a header row, asked for or not; 0 for none.
    """

    stream: Row | None = None
    episodes: tuple[Row, ...] = ()
    highest: int = 0


class EpisodeStore(Protocol):
    """One generation of the columnar store.

    Writes are idempotent: step rows are first-wins by offset, rows of the other tables are
    greatest-version-wins. Reads see every write that has returned, as FINAL sees it.
    """

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        """Write rows of one layout (schema `step_rows_schema(layout)`) into its step table; makes a new one.

        Raises:
            RowsRefused: The store will never take one of these rows.
            StoreFull: No space.
            StoreUnavailable: The store does not answer.
        """
        ...

    def write_rows(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows with all columns of the table (without MATERIALIZED ones); an empty list does nothing.

        Raises:
            RowsRefused: The store will never take one of these rows.
            StoreFull: No space.
            StoreUnavailable: The store does not answer.
        """
        ...

    def load_streams(
        self, wanted: Mapping[bytes, Collection[int] | None], *, columns: Sequence[str] = ()
    ) -> dict[bytes, StoredStream]:
        """What is known of these streams, with the headers of these of their episodes.

        Episodes are ordinals, None means all.

        Headers have all columns, or at least `columns` (with `episode` among them) when these are named.
        Every stream asked for is in the answer, also one that the store does not know. One query for all of
        them: a block may ask for a thousand.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        ...

    def read_steps(self, key: EpisodeKey, ranges: Sequence[tuple[int, int]]) -> Iterator[pa.RecordBatch]:
        """The rows of an episode in these closed ranges of steps, by step, in batches of bounded size.

        Batches have `stored_rows_schema(layout)`; floats are bit-exact. A table or rows that are not there:
        none.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        ...

    def find_episodes(self, *, benchmark: bytes | None = None, ids: Sequence[bytes] = ()) -> list[EpisodeKey]:
        """The keys of all episodes of a benchmark, or of all episodes with these ids, whoever owns them."""
        ...

    def erase(self, episodes: Sequence[EpisodeKey]) -> None:
        """Remove the step rows and the header rows of exactly these keys; gone on return, for good.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        ...

    def probe(self) -> None:
        """Insert one row somewhere harmless and read it back: readiness.

        Raises:
            StoreFull: No space.
            StoreUnavailable: The store does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record, or a part of one, that could not be processed.

    Attributes:
        topic: Where the record stands.
        position: Its position there, as it is stored (`tupli_schemas.direct`).
        key: Its key.
        code: A stable word for the reason, one of `CODES`.
        reason: What a person needs to know.
        payload: The record's payload, or empty when the log has it.
    """

    topic: str
    position: Position
    key: bytes
    code: str
    reason: str
    payload: bytes = b""


CODES: Final = frozenset(
    {
        "undecodable",
        "foreign_owner",
        "too_many_gaps",
        "contradicting_start",
        "layout_mismatch",
        "rows_refused",
        "no_more_tables",
        # Of records that went straight to Kafka
        "no_grant",
        "grant_refused",
        "bad_signature",
        "not_direct",
        "not_granted",
        "invalid_event",
    }
)
"""The codes of dead letters."""
OUR_FAULT: Final = frozenset({"undecodable", "rows_refused"})
"""What cannot be a caller's doing, because the gateway has checked what it accepted. Only these have a limit."""


class DeadLetters(Protocol):
    """Where unprocessable records go."""

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """Keep the letters.

        After a crash, or from two processes, one may come again: topic, position and code are its identity, and it is
        read once.

        Raises:
            TooManyDeadLetters: These would pass the limit; none was kept.
            LogFull: No space.
            LogUnavailable: The place where they are kept does not answer.
        """
        ...

    def read(self, after: int | None = None, max_records: int = 1_000) -> list[DeadLetter]:
        """Letters in the order they were kept, above index `after`."""
        ...


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """A dead letter as it is kept: at `index`, which grows and is never reused, since `kept_at` (Unix ms)."""

    index: int
    kept_at: int
    letter: DeadLetter


class KeptLetters(Protocol):
    """The dead letters for people who look: pages, and one by its index."""

    def entries(self, after: int | None = None, max_records: int = 1_000) -> list[KeptLetter]:
        """Letters in the order they were kept, above index `after`; fewer than asked for where they are large.

        An empty list means that there are none. It reads as many as it gives.

        Raises:
            LogUnavailable: The place where they are kept does not answer.
        """
        ...

    def newest(self) -> int | None:
        """The index of the newest letter (or of one that was there once); None when there is none.

        Raises:
            LogUnavailable: The place where they are kept does not answer.
        """
        ...


KEY_FIELDS = tuple(
    pa.field(name, pa.binary(16), nullable=False) for name in ("benchmark", "owner", "episode")
)
INDEX_FIELDS = (
    pa.field("info_num", pa.map_(pa.string(), pa.float64()), nullable=False),
    pa.field("info_int", pa.map_(pa.string(), pa.int64()), nullable=False),
    pa.field("info_str", pa.map_(pa.string(), pa.string()), nullable=False),
    pa.field("info_other", pa.list_(pa.string()), nullable=False),
)
POSITION_FIELDS = (
    pa.field("log_generation", pa.uint32(), nullable=False),
    pa.field("partition", pa.uint32(), nullable=False),
    pa.field("offset", pa.uint64(), nullable=False),
)


def leaf_fields(layout: Layout) -> tuple[pa.Field, ...]:
    """The fields of a layout's leaves, as records of steps have them."""
    return tuple(pa.field(name, cell.arrow_type, nullable=False) for name, cell in layout.columns)


def step_rows_schema(layout: Layout) -> pa.Schema:
    """What is written into a step table, in the order of its columns (`tables.STEP_COLUMNS`, then leaves).

    Leaves keep the Arrow types of `Cell.arrow_type` (fixed-size lists for arrays).
    """
    facts = STEP_FIELDS[1:]
    return pa.schema([*KEY_FIELDS, *facts, *INDEX_FIELDS, *POSITION_FIELDS, *leaf_fields(layout)])


def stored_rows_schema(layout: Layout) -> pa.Schema:
    """What is read from a step table: a record's columns without the episode, and the position."""
    return pa.schema([*STEP_FIELDS[1:], *leaf_fields(layout), *POSITION_FIELDS])
