"""What a group delivers becomes blocks: told after they are written, never before, and never over a hole."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import count

import pytest

from support.ingest_streams import BENCHMARK, LAYOUT, STREAM, StreamOfItems, new_record
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryStore
from tupli_ingest.core.errors import Bug, Stopped, StoreUnavailable
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import EpisodeKey, Row, StoredStream, Table
from tupli_ingest.processing.block_writer import BlockWriter, WriterLimits
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_schemas.ids import LOCAL_SUBJECT, episode_id, make_id
from tupli_schemas.records import Position, Record


class Store(MemoryStore):
    """Refuses to write while it is `away`."""

    def __init__(self) -> None:
        super().__init__()
        self.away = threading.Event()

    def write_rows(self, table: Table, rows: Sequence[Row]) -> None:
        if self.away.is_set():
            raise StoreUnavailable("away")
        super().write_rows(table, rows)


class World:
    """A writer over a store, and what it said was written."""

    def __init__(self, **limits: int) -> None:
        self.store = Store()
        self.letters = MemoryDeadLetters(limit=100)
        self.pipelines = 0
        self.told: list[int] = []
        limit = DeadLetterLimit(ratio=0.5, window=1_000, run=100)
        self.writer = BlockWriter(self._pipeline, WriterLimits(**limits), limit, retry_max_s=0.02)

    def _pipeline(self) -> Pipeline:
        self.pipelines += 1
        return Pipeline(self.store, self.letters)

    def put(self, name: int, records: Sequence[Record], generation: int = 1) -> None:
        self.writer.put(generation, records, lambda: self.told.append(name))

    @property
    def status(self) -> str:
        key = EpisodeKey(BENCHMARK, LOCAL_SUBJECT, episode_id(STREAM, 1), LAYOUT.text)
        rows = [row for row in self.store.rows("episodes") if row["episode"] == key.episode]
        return str(rows[0]["status"]) if rows else ""


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.writer.start()
    yield made
    made.writer.stop(5)


def records(*, cut: int = 10, partition: int = 0) -> list[Record]:
    """An episode of 50 steps as records of one partition."""
    news = [new_record(event) for event in StreamOfItems().episode(1, 50).events(cut=cut)]
    return [
        Record(Position(1, partition, offset), new.key, new.envelope, new.payload)
        for offset, new in enumerate(news)
    ]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)


def test_what_is_delivered_is_written_and_told_in_order(world: World) -> None:
    for name, record in enumerate(records()):
        world.put(name, [record])
    until(lambda: len(world.told) == len(records()))
    assert world.told == sorted(world.told)
    assert world.status == "terminated"
    assert world.writer.is_idle
    assert 1 <= world.writer.blocks <= len(records())


def test_nothing_is_told_before_it_is_written(world: World) -> None:
    world.store.away.set()
    world.put(1, records())
    until(lambda: "away" in world.writer.trouble)
    assert world.told == []
    world.store.away.clear()
    until(lambda: world.told == [1])
    assert world.status == "terminated"


class SlowStore(Store):
    """While what it knows of streams is read, more is delivered, for as long as somebody delivers."""

    def __init__(self) -> None:
        super().__init__()
        self.more: Callable[[], None] = lambda: None

    def load_streams(
        self, wanted: Mapping[bytes, Collection[int] | None], *, columns: Sequence[str] = ()
    ) -> dict[bytes, StoredStream]:
        self.more()
        return super().load_streams(wanted, columns=columns)


def test_a_block_ends_although_more_and_more_comes() -> None:
    world = World()
    world.store = store = SlowStore()
    numbers = count(1)

    def deliver() -> None:
        number = next(numbers)
        stream = StreamOfItems(make_id(1_700_000_000_000, number))
        news = [new_record(event) for event in stream.episode(1, 3).events()]
        at = 10 * number
        found = [
            Record(Position(1, number, at + i), n.key, n.envelope, n.payload) for i, n in enumerate(news)
        ]
        world.put(number, found)

    store.more = deliver
    world.writer.start()
    deliver()
    until(lambda: len(world.told) >= 3)
    store.more = lambda: None
    world.writer.stop(5)
    assert world.told == sorted(world.told)


def test_another_generation_asks_the_store_again(world: World) -> None:
    whole = records()
    world.put(1, whole[:4])
    until(lambda: world.told == [1])
    world.put(2, whole[2:], generation=2)  # from what was committed on
    until(lambda: world.told == [1, 2])
    assert world.pipelines == 2
    assert world.status == "terminated"
    assert len(world.letters.read()) == 0


def test_a_hole_in_a_partition_is_a_bug_and_a_repetition_is_none(world: World) -> None:
    whole = records()
    world.put(1, whole[:3])
    world.put(2, whole[1:4])
    with pytest.raises(Bug, match="records 4 to 4 of partition 0 were not delivered"):
        world.put(3, whole[5:])
    other = World()
    other.writer.start()
    other.put(1, whole[:3])
    other.put(2, whole[5:], generation=2)  # another member had those between
    until(lambda: len(other.told) == 2)
    other.writer.stop(5)


def test_partitions_have_numbers_of_their_own(world: World) -> None:
    world.put(1, [*records()[:2], *records(partition=1)[:5], *records()[2:]])
    until(lambda: world.told == [1])


def test_much_that_waits_holds_up_who_delivers() -> None:
    world = World(waiting_bytes=100)
    world.store.away.set()
    world.writer.start()
    whole = records()
    world.put(1, whole[:3])
    late = threading.Thread(target=world.put, args=(2, whole[3:]))
    late.start()
    late.join(0.1)
    assert late.is_alive()
    world.store.away.clear()
    late.join(5)
    until(lambda: world.told == [1, 2])
    world.writer.stop(5)


def test_whoever_waits_is_told_of_the_stop_and_nothing_is_told_as_written() -> None:
    world = World(waiting_bytes=100)
    world.store.away.set()
    world.writer.start()
    world.put(1, records()[:3])
    stopped = threading.Event()

    def put() -> None:
        with pytest.raises(Stopped):
            world.put(2, records()[3:])
        stopped.set()

    late = threading.Thread(target=put)
    late.start()
    time.sleep(0.05)
    world.writer.stop(5)
    late.join(5)
    assert stopped.is_set()
    assert world.told == []
