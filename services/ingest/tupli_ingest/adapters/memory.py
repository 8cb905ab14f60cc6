"""The ports in memory: for tests, and for trying things out. They keep every promise but durability."""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tupli_ingest.core.errors import TooManyDeadLetters
from tupli_ingest.core.ports import (
    OUR_FAULT,
    DeadLetter,
    EpisodeKey,
    KeptLetter,
    Row,
    StoredStream,
    Table,
    step_rows_schema,
    stored_rows_schema,
)
from tupli_ingest.core.rows import parse_layout
from tupli_schemas.ids import ordinal_of, stream_of
from tupli_schemas.records import NewRecord, Position, Record
from tupli_schemas.steps import Layout

_KEYS: dict[Table, tuple[str, ...]] = {
    "episodes": ("benchmark", "owner", "episode"),
    "streams": ("stream",),
    "benchmarks": ("id",),
    "publications": ("kind", "id", "scope", "subject"),
    "deletions": ("kind", "id", "subject"),
}


class MemoryLog:
    """`EventLog`, `LogReader` and `Checkpoints` over lists."""

    def __init__(self, *, generation: int = 1) -> None:
        self._generation = generation
        self._topics: defaultdict[str, list[Record]] = defaultdict(list)
        self._checkpoints: dict[tuple[str, str], int] = {}
        self._grown = threading.Condition()

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """Keep the records."""
        return self.append_now(topic, records)

    def append_now(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """`append` where there is no event loop."""
        with self._grown:
            kept = self._topics[topic]
            positions = [Position(self._generation, 0, len(kept) + i) for i in range(len(records))]
            kept += [
                Record(position, new.key, new.envelope, new.payload)
                for position, new in zip(positions, records, strict=True)
            ]
            self._grown.notify_all()
        return positions

    def read(self, topic: str, start: int, *, max_bytes: int, max_records: int = 10_000) -> list[Record]:
        """The records from `start` on, within the bounds."""
        with self._grown:
            records = self._topics[topic][start : start + max_records]
        size = 0
        for count, record in enumerate(records):
            size += len(record.payload)
            if size >= max_bytes:
                return records[: count + 1]
        return records

    def end(self, topic: str) -> int:
        """The number of records."""
        return len(self._topics[topic])

    def wait(self, topic: str, offset: int, timeout: float) -> bool:
        """Wait until there is a record at `offset`."""
        with self._grown:
            return self._grown.wait_for(lambda: len(self._topics[topic]) > offset, timeout)

    def checkpoint(self, group: str, topic: str) -> int:
        """Where the group goes on."""
        return self._checkpoints.get((group, topic), 0)

    def commit(self, group: str, topic: str, next_offset: int) -> None:
        """Remember where the group goes on."""
        self._checkpoints[group, topic] = next_offset


class MemoryStore:
    """`EpisodeStore` over dictionaries."""

    def __init__(self) -> None:
        self._steps: defaultdict[str, dict[tuple[bytes, ...], dict[int, tuple[int, pa.RecordBatch]]]]
        self._steps = defaultdict(dict)
        self._rows: defaultdict[Table, dict[tuple[Any, ...], Row]] = defaultdict(dict)

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        """Keep each row, unless one of its identity with a smaller offset is there."""
        if not rows.schema.equals(step_rows_schema(layout)):
            raise ValueError(f"rows of {rows.schema} in the table of {layout.text}")
        episodes = self._steps[layout.table]
        names = ("benchmark", "owner", "episode", "step", "offset")
        columns = [rows.column(name).to_pylist() for name in names]
        for i, (benchmark, owner, episode, step, offset) in enumerate(zip(*columns, strict=True)):
            steps = episodes.setdefault((benchmark, owner, episode), {})
            if step not in steps or offset <= steps[step][0]:
                steps[step] = offset, rows.slice(i, 1)

    def write_rows(self, table: Table, rows: Sequence[Row]) -> None:
        """Keep each row, unless one of its key with a greater version is there."""
        kept = self._rows[table]
        for row in rows:
            key = tuple(row[name] for name in _KEYS[table])
            if key not in kept or kept[key]["version"] <= row["version"]:
                kept[key] = dict(row)

    def load_streams(
        self, wanted: Mapping[bytes, Collection[int] | None], *, columns: Sequence[str] = ()
    ) -> dict[bytes, StoredStream]:
        """What is known of the streams."""
        headers: defaultdict[bytes, list[Row]] = defaultdict(list)
        for row in self._rows["episodes"].values():
            headers[stream_of(row["episode"])].append(dict(row))
        return {
            stream: StoredStream(
                self._rows["streams"].get((stream,)),
                tuple(
                    {name: row[name] for name in columns or row}
                    for row in headers[stream]
                    if ordinals is None or ordinal_of(row["episode"]) in ordinals
                ),
                max((ordinal_of(row["episode"]) for row in headers[stream]), default=0),
            )
            for stream, ordinals in wanted.items()
        }

    def read_steps(self, key: EpisodeKey, ranges: Sequence[tuple[int, int]]) -> Iterator[pa.RecordBatch]:
        """The rows of an episode, one batch a range."""
        layout = parse_layout(key.layout)
        steps = self._steps[layout.table].get((key.benchmark, key.owner, key.episode), {})
        for first, last in ranges:
            found = [steps[step][1] for step in sorted(steps) if first <= step <= last]
            if found:
                table = pa.Table.from_batches(found).select(stored_rows_schema(layout).names)
                yield table.combine_chunks().to_batches()[0]

    def find_episodes(self, *, benchmark: bytes | None = None, ids: Sequence[bytes] = ()) -> list[EpisodeKey]:
        """The keys of a benchmark's episodes, or of these episodes."""
        return [
            EpisodeKey(row["benchmark"], row["owner"], row["episode"], row["layout"])
            for row in list(self._rows["episodes"].values())  # another thread may write meanwhile
            if row["benchmark"] == benchmark or row["episode"] in ids
        ]

    def erase(self, episodes: Sequence[EpisodeKey]) -> None:
        """Forget the rows and headers of these keys."""
        for key in episodes:
            place = (key.benchmark, key.owner, key.episode)
            self._rows["episodes"].pop(place, None)
            if key.layout:
                self._steps[parse_layout(key.layout).table].pop(place, None)

    def probe(self) -> None:
        """Memory is always ready."""

    def rows(self, table: Table) -> list[Row]:
        """All rows of a table, by key, as FINAL shows them."""
        return [row for _, row in sorted(self._rows[table].items())]

    def steps(self) -> dict[tuple[Any, ...], Row]:
        """All step rows of all layouts, by (table, benchmark, owner, episode, step)."""
        return {
            (table, *key, step): batch.to_pylist()[0]
            for table, episodes in sorted(self._steps.items())
            for key, steps in sorted(episodes.items())
            for step, (_, batch) in sorted(steps.items())
        }


class MemoryDeadLetters:
    """`DeadLetters` over a list."""

    def __init__(self, *, limit: int = 10_000) -> None:
        self._limit = limit
        self._letters: list[DeadLetter] = []

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """Keep the letters that are new."""
        known = {(letter.topic, letter.position, letter.code) for letter in self._letters}
        new = [one for one in letters if (one.topic, one.position, one.code) not in known]
        if sum(one.code in OUR_FAULT for one in (*self._letters, *new)) > self._limit:
            raise TooManyDeadLetters(f"more than {self._limit} dead letters")
        self._letters += new

    def read(self, after: int | None = None, max_records: int = 1_000) -> list[DeadLetter]:
        """Letters above index `after`."""
        return [kept.letter for kept in self.entries(after, max_records)]

    def entries(self, after: int | None = None, max_records: int = 1_000) -> list[KeptLetter]:
        """The same with their indices; nobody knows since when."""
        start = 0 if after is None else after + 1
        some = self._letters[start : start + max_records]
        return [KeptLetter(index, 0, letter) for index, letter in enumerate(some, start)]

    def newest(self) -> int | None:
        """The index of the last one."""
        return len(self._letters) - 1 if self._letters else None
