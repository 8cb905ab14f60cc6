"""The core in a small world: a log of several partitions, a consumer group, a store, all in memory, none by itself.

The writers are real ones, each in its thread, and run from one pause to the next when they are told to. They pause
before every call of the store or of the dead letters, before every acknowledgement, and between two attempts, so
that everything between two of those may happen to them: death, a sleep of any length, a rebalance that they do not
know of. What happens when is up to who holds the world; the same calls lead to the same history.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import pyarrow as pa

from support.ingest_streams import Item, RowItem
from support.turns import IDLE, SECONDS, Turns, Writer
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryStore
from tupli_ingest.core.errors import (
    LogUnavailable,
    RowsRefused,
    StoreFull,
    StoreUnavailable,
)
from tupli_ingest.core.leftovers import leftovers
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import NO_BENCHMARK, DeadLetter, EpisodeKey, Row, StoredStream, Table
from tupli_schemas.ids import ordinal_of
from tupli_schemas.records import Position, Record
from tupli_schemas.steps import Layout

T = TypeVar("T")
ODD: Final = b'{"odd":1}'
"""The info of rows that the store will never take."""


class PickyStore(MemoryStore):
    """A store that never takes odd rows."""

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        if ODD in rows.column("info").to_pylist():
            raise RowsRefused("too odd")
        super().write_steps(layout, rows)


@dataclass(frozen=True)
class Sent:
    """What one record of the log holds: items by their numbers; none for poison."""

    stream: bytes
    subject: bytes
    items: Mapping[int, Item]


class World:
    """Log, group, store and dead letters; see the module.

    Attributes:
        log: The records of each partition.
        sent: What each of them holds.
        committed: The group's offset in each partition.
        generation: The group's assignment, counted; those who know an older one cannot commit.
        away: Whether the store answers nobody.
        calls: What reached the store, in order.
    """

    def __init__(self, *, partitions: int = 2, block_bytes: int = 2_000, max_streams: int = 100) -> None:
        self.log: list[list[Record]] = [[] for _ in range(partitions)]
        self.sent: dict[Position, Sent] = {}
        self.committed = [0] * partitions
        self.generation = 0
        self.store, self.letters = PickyStore(), MemoryDeadLetters()
        self.away = False
        self.calls: list[str] = []
        self.members: list[Member] = []
        self._block_bytes, self._max_streams = block_bytes, max_streams
        self._names = 0
        self._steps: defaultdict[tuple[bytes, bytes], set[int]] = defaultdict(set)
        self._odd: set[tuple[bytes, int, int]] = set()
        self._left: list[EpisodeKey] = []

    def append(self, partition: int, key: bytes, value: bytes, sent: Sent) -> None:
        """Append a record, as it goes through a log that others can write to."""
        records = self.log[partition]
        position = Position(1, partition, len(records))
        self.sent[position] = sent
        rows = [item for item in sent.items.values() if isinstance(item, RowItem)]
        self._odd |= {(sent.stream, row.episode, row.step) for row in rows if row.info == ODD}
        records.append(Record.read(position, key, value))

    def join(self) -> "Member":
        """A new process; it gets partitions at the next rebalance."""
        self._names += 1
        member = Member(self, self._names, self._block_bytes, self._max_streams)
        self.members.append(member)
        return member

    def kill(self, member: "Member") -> None:
        """A process dies where it stands; the group will know at the next rebalance."""
        self.members.remove(member)
        member.die()

    def rebalance(self, members: Sequence["Member"]) -> None:
        """Share the partitions among these; the others do not know, and go on with what they had."""
        self.generation += 1
        for member in members:
            member.generation, member.following = self.generation, {}
        for partition, committed in enumerate(self.committed):
            if members:
                members[(partition + self.generation) % len(members)].following[partition] = committed

    def commit(self, generation: int, partition: int, following: int) -> None:
        """An acknowledgement: counts only from who knows the assignment. Never passes what is durable."""
        if generation != self.generation:
            return
        before = self.committed[partition]
        assert following > before, (
            f"partition {partition}: {following - 1} is acknowledged after {before - 1}"
        )
        for record in self.log[partition][before:following]:
            self._assert_durable(record)
        self.committed[partition] = following

    def tidy(self) -> None:
        """Erase what was found to be left at the last look, and look again."""
        if not self.away:
            self.store.erase(self._left)
            self.erased(self._left)
            self._left = leftovers(self.store)

    def close(self) -> None:
        """End all threads."""
        for member in list(self.members):
            self.kill(member)

    def settle(self) -> None:
        """Go on without trouble until everything is committed and everybody is idle."""
        self.away = False
        if not self.members:
            self.join()
        self.rebalance(self.members)
        for _ in range(10_000):
            for member in self.members:
                member.deliver(3)
                if member.can_run:
                    member.turns.run()
            if not any(member.can_run for member in self.members) and self.is_read:
                break
        ends = [len(records) for records in self.log]
        assert self.committed == ends, f"committed {self.committed} of {ends}"
        self._left = leftovers(self.store)
        self.tidy()

    @property
    def is_read(self) -> bool:
        """Whether whoever owns a partition has got all of it."""
        owners = [member for member in self.members if member.generation == self.generation]
        return all(len(self.log[p]) == at for owner in owners for p, at in owner.following.items())

    def wrote_steps(self, rows: pa.RecordBatch) -> None:
        """Rows are in the store: each must be one of the record that it names."""
        names = ("benchmark", "episode", "step", "info", "log_generation", "partition", "offset")
        for benchmark, episode, step, info, *place in zip(
            *(rows.column(n).to_pylist() for n in names), strict=True
        ):
            items = self.sent[Position(*place)].items.values()
            assert self.sent[Position(*place)].stream[:12] == episode[:12]
            assert (ordinal_of(episode), step, info) in {
                (item.episode, item.step, item.info) for item in items if isinstance(item, RowItem)
            }, f"nobody sent step {step} of episode {episode.hex()} with {info!r} at {place}"
            self._steps[benchmark, episode].add(step)

    def wrote_headers(self, rows: Sequence[Row]) -> None:
        """Headers are in the store: what they show must be there."""
        for row in rows:
            if row["benchmark"] == NO_BENCHMARK or row["conflict"]:
                continue
            missing = set(range(row["prefix"])) - self._steps[row["benchmark"], row["episode"]]
            assert not missing, f"a header shows steps {missing} that are not there"

    def erased(self, keys: Sequence[EpisodeKey]) -> None:
        """Rows are gone."""
        for key in keys:
            self._steps.pop((key.benchmark, key.episode), None)

    def _assert_durable(self, record: Record) -> None:
        position, sent = record.position, self.sent[record.position]
        if any(letter.position == position for letter in self.letters.read(max_records=10_000)):
            return
        ((stream, known),) = self.store.load_streams({sent.stream: ()}).items()
        offset = -1 if known.stream is None else known.stream["offset"]
        assert offset >= position.offset, (
            f"{position} is committed, and {stream.hex()} is known up to {offset}"
        )
        there = {
            (ordinal_of(episode), step)
            for (_, episode), steps in self._steps.items()
            for step in steps
            if episode[:12] == sent.stream[:12]
        }
        there |= {(episode, step) for stream, episode, step in self._odd if stream == sent.stream}  # refused
        lost = {(row.episode, row.step) for row in sent.items.values() if isinstance(row, RowItem)} - there
        assert not lost, f"{position} is committed, and its rows {lost} are lost"


@dataclass(eq=False)
class Member:
    """A worker process: its writer, and what it knows of the group."""

    world: World
    name: int
    block_bytes: int
    max_streams: int
    turns: Turns = field(default_factory=Turns)
    generation: int = 0
    following: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        store, letters = WorkersStore(self.world, self.turns), WorkersLetters(self.world, self.turns)
        self.writer = Writer(
            self.turns, lambda: Pipeline(store, letters, max_streams=self.max_streams), self.block_bytes
        )
        self.writer.start()
        self.turns.begin()

    @property
    def can_run(self) -> bool:
        """Whether it has anything to do before the next delivery."""
        return self.turns.at != IDLE or not self.writer.is_idle

    def deliver(self, count: int) -> None:
        """Hand the writer up to `count` records of each partition that it thinks is its own."""
        records, offsets = [], []
        for partition, start in self.following.items():
            taken = self.world.log[partition][start : start + count]
            if taken:
                records += taken
                offsets.append((partition, start + len(taken)))
        self.following |= dict(offsets)
        if records:
            self.writer.put(self.generation, records, partial(self._written, self.generation, offsets))

    def die(self) -> None:
        """End the thread where it stands."""
        self.turns.kill()
        self.writer.stop(SECONDS)

    def _written(self, generation: int, offsets: Sequence[tuple[int, int]]) -> None:
        for partition, following in offsets:
            self.turns.pause("before an acknowledgement")
            self.world.commit(generation, partition, following)


class WorkersStore:
    """The world's store as one worker reaches it."""

    def __init__(self, world: World, turns: Turns) -> None:
        self._world, self._store, self._turns = world, world.store, turns

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        def write(part: pa.RecordBatch) -> None:
            self._store.write_steps(layout, part)
            self._world.wrote_steps(part)

        self._call("steps", lambda: write(rows), lambda: write(rows.slice(0, rows.num_rows // 2)))

    def write_rows(self, table: Table, rows: Sequence[Row]) -> None:
        if not rows:
            return

        def write(part: Sequence[Row]) -> None:
            self._store.write_rows(table, part)
            if table == "episodes":
                self._world.wrote_headers(part)

        self._call(table, lambda: write(rows), lambda: write(rows[: len(rows) // 2]))

    def load_streams(
        self, wanted: Mapping[bytes, Collection[int] | None], *, columns: Sequence[str] = ()
    ) -> dict[bytes, StoredStream]:
        """Streams first, headers after them: between the two, others may write."""
        first = self._call(
            "what is known of streams", lambda: self._store.load_streams(wanted, columns=columns)
        )
        then = self._call(
            "what is known of episodes", lambda: self._store.load_streams(wanted, columns=columns)
        )
        answer = {}
        for stream, known in first.items():
            episodes = [row for row in then[stream].episodes if ordinal_of(row["episode"]) <= known.highest]
            answer[stream] = StoredStream(known.stream, tuple(episodes), known.highest)
        return answer

    def read_steps(self, key: EpisodeKey, ranges: Sequence[tuple[int, int]]) -> Iterator[pa.RecordBatch]:
        return iter(self._call("reading steps", lambda: list(self._store.read_steps(key, ranges))))

    def find_episodes(self, *, benchmark: bytes | None = None, ids: Sequence[bytes] = ()) -> list[EpisodeKey]:
        return self._call("finding", lambda: self._store.find_episodes(benchmark=benchmark, ids=ids))

    def erase(self, episodes: Sequence[EpisodeKey]) -> None:
        def erase() -> None:
            self._store.erase(episodes)
            self._world.erased(episodes)

        def erase_rows() -> None:  # headers go last
            places = {(key.benchmark, key.owner, key.episode) for key in episodes}
            headers = self._store.rows("episodes")
            erase()
            kept = [row for row in headers if (row["benchmark"], row["owner"], row["episode"]) in places]
            self._store.write_rows("episodes", kept)

        self._call("erasing", erase, erase_rows)

    def probe(self) -> None:
        self._store.probe()

    def _call(self, what: str, call: Callable[[], T], half: Callable[[], object] = lambda: None) -> T:
        fault = self._turns.pause(what)
        self._world.calls.append(f"{what} {fault}")
        if self._world.away or fault == "refuses":
            raise StoreUnavailable(what)
        if fault == "full":
            raise StoreFull(what)
        if fault == "half":
            half()
            raise StoreUnavailable(what)
        answer = call()
        if fault == "unanswered":
            raise StoreUnavailable(what)
        return answer


class WorkersLetters:
    """The world's dead letters as one worker reaches them."""

    def __init__(self, world: World, turns: Turns) -> None:
        self._letters, self._turns = world.letters, turns

    def put(self, letters: Sequence[DeadLetter]) -> None:
        fault = self._turns.pause("dead letters")
        if fault == "refuses":
            raise LogUnavailable("dead letters")
        self._letters.put(letters[: len(letters) // 2] if fault == "half" else letters)
        if fault in ("half", "unanswered"):
            raise LogUnavailable("dead letters")

    def read(self, after: int | None = None, max_records: int = 1_000) -> list[DeadLetter]:
        return self._letters.read(after, max_records)
