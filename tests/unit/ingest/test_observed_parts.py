"""What the parts tell a meter and a tracer: the log, the store, the block writer, the engine, the threads."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import count

import pytest

from support.ingest_streams import BENCHMARK, LAYOUT, STREAM, StreamOfItems, new_record
from support.meters import KeptMeter, KeptTracer
from tupli_ingest.adapters.log_dead_letters import LogDeadLetters
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryLog, MemoryStore
from tupli_ingest.core.errors import LogUnavailable, StoreUnavailable
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import DeadLetter, EpisodeKey, Row, Table
from tupli_ingest.core.tracing import MAX_LINKS
from tupli_ingest.processing.block_writer import BlockWriter, WriterLimits
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_ingest.processing.observed_log import ObservedLog
from tupli_ingest.processing.observed_store import ObservedStore
from tupli_ingest.processing.processor import BlockLimits, Engine
from tupli_schemas.events import EPISODES_TOPIC
from tupli_schemas.ids import LOCAL_SUBJECT, episode_id
from tupli_schemas.records import NewRecord, Position, Record

ROWS = 51
"""Of an episode of 50 steps: its final observation is a row."""


def ticking() -> Callable[[], float]:
    """A clock that is one second on whenever somebody looks."""
    ticks = count()
    return lambda: float(next(ticks))


def news(*, end: bool = True) -> list[NewRecord]:
    return [new_record(event) for event in StreamOfItems().episode(1, 50, end=end).events(cut=10)]


def records() -> list[Record]:
    return [Record(Position(1, 0, at), n.key, n.envelope, n.payload) for at, n in enumerate(news())]


def limit() -> DeadLetterLimit:
    return DeadLetterLimit(ratio=0.5, window=1_000, run=100)


class Store(MemoryStore):
    """Refuses to write so many times."""

    refusals = 0

    def write_rows(self, table: Table, rows: Sequence[Row]) -> None:
        if rows and self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("away")
        super().write_rows(table, rows)


class AwayLog:
    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        raise LogUnavailable("away")


def test_an_append_is_timed_when_it_is_durable_and_not_when_it_fails() -> None:
    meter, tracer = KeptMeter(), KeptTracer()
    log = ObservedLog(MemoryLog(), meter, tracer, clock=ticking())
    assert len(asyncio.run(log.append(EPISODES_TOPIC, news()[:2]))) == 2
    assert meter.appends == [(EPISODES_TOPIC, 1.0)]
    (span,) = tracer.spans
    assert (span.name, span.attributes["messaging.batch.message_count"]) == ("append", 2)
    with pytest.raises(LogUnavailable):
        asyncio.run(ObservedLog(AwayLog(), meter, tracer).append(EPISODES_TOPIC, news()))
    assert len(meter.appends) == 1


def test_a_write_is_timed_by_the_kind_of_its_table_and_an_empty_one_is_none() -> None:
    meter, tracer = KeptMeter(), KeptTracer()
    inner = Store()
    store = ObservedStore(inner, meter, tracer, clock=ticking())
    pipeline = Pipeline(store, MemoryDeadLetters())
    pipeline.add(records())
    pipeline.flush()
    assert meter.writes == [("steps", 1.0), ("episodes", 1.0), ("streams", 1.0)]
    assert [span.attributes["tupli.rows"] for span in tracer.spans] == [ROWS, 1, 1]
    inner.refusals = 1
    row = inner.rows("streams")[0]
    with pytest.raises(StoreUnavailable):
        store.write_rows("streams", [row])
    assert len(meter.writes) == 3


def test_an_observed_store_is_the_store_that_it_observes() -> None:
    inner = Store()
    store = ObservedStore(inner, KeptMeter(), KeptTracer())
    pipeline = Pipeline(store, MemoryDeadLetters())
    pipeline.add([Record(Position(1, 0, i), n.key, n.envelope, n.payload) for i, n in enumerate(news())])
    pipeline.flush()
    key = EpisodeKey(BENCHMARK, LOCAL_SUBJECT, episode_id(STREAM, 1), LAYOUT.text)
    assert store.find_episodes(benchmark=BENCHMARK) == inner.find_episodes(benchmark=BENCHMARK) == [key]
    assert store.load_streams({STREAM: None}) == inner.load_streams({STREAM: None})
    assert sum(batch.num_rows for batch in store.read_steps(key, [(0, 100)])) == ROWS
    store.probe()
    store.erase([key])
    assert inner.find_episodes(benchmark=BENCHMARK) == []


@pytest.mark.parametrize(("end", "open_streams"), [(True, 0), (False, 1)])
def test_streams_are_open_until_all_of_their_episodes_have_ended(end: bool, open_streams: int) -> None:  # noqa: FBT001 -- a parameter
    store = ObservedStore(Store(), KeptMeter(), KeptTracer())
    pipeline = Pipeline(store, MemoryDeadLetters())
    pipeline.add(
        [Record(Position(1, 0, i), n.key, n.envelope, n.payload) for i, n in enumerate(news(end=end))]
    )
    pipeline.flush()
    assert store.open_streams.count() == open_streams


class Writer(BlockWriter):
    """Waits for nothing between two attempts."""

    def __init__(self, store: Store) -> None:
        super().__init__(
            lambda: Pipeline(store, MemoryDeadLetters()),
            WriterLimits(),
            limit(),
            retry_max_s=0.0,
            clock=ticking(),
        )
        self.kept = self.meter = KeptMeter()
        self.spans = self.tracer = KeptTracer()
        self._thread.is_alive = lambda: True  # type: ignore[method-assign]  # rounds are called here


def test_a_block_s_figures_are_those_of_what_was_delivered() -> None:
    writer = Writer(Store())
    told: list[int] = []
    some = records()
    for at, record in enumerate(some):
        writer.put(1, [record], lambda at=at: told.append(at))  # type: ignore[misc]  # the default is the type
    assert writer.waiting_bytes == sum(len(record.key) + len(record.payload) for record in some)
    writer.round()
    (block,) = writer.kept.blocks
    assert (block.records, block.rows, block.fold_s, block.write_s) == (len(some), ROWS, 1.0, 1.0)
    assert block.bytes == sum(len(record.payload) for record in some)
    assert (len(told), writer.waiting_bytes) == (len(some), 0)
    assert [(span.name, span.within) for span in writer.spans.spans] == [
        ("block", ""),
        ("fold", "block"),
        ("write", "block"),
    ]
    assert writer.spans.spans[0].attributes == {"tupli.records": len(some), "tupli.rows": ROWS}


def test_what_is_tried_again_is_counted_by_what_it_was_and_times_the_attempt_that_worked() -> None:
    store = Store()
    store.refusals = 3
    writer = Writer(store)
    writer.put(1, records(), lambda: None)
    writer.round()
    assert writer.kept.retries == {("writer", "writing a block"): 3}
    assert [block.write_s for block in writer.kept.blocks] == [1.0]


def test_a_block_links_to_the_first_requests_that_it_came_from_each_once() -> None:
    writer = Writer(Store())
    for at, record in enumerate(records()):
        many = [f"{at}-{number}" for number in range(MAX_LINKS)]
        writer.put(1, [record], lambda: None, ["the same", *many])
    writer.round()
    links = writer.spans.spans[0].links
    assert (len(links), links[0], len(set(links))) == (MAX_LINKS, "the same", MAX_LINKS)


def test_the_embedded_engine_tells_of_each_block_once() -> None:
    log, meter, store = MemoryLog(), KeptMeter(), Store()
    some = news()
    log.append_now(EPISODES_TOPIC, some)
    pipeline = Pipeline(store, MemoryDeadLetters())
    engine = Engine(1, pipeline, log, log, BlockLimits(), limit())
    engine.meter = meter
    store.refusals = 1
    while not engine.collect():
        pass
    with pytest.raises(StoreUnavailable):
        engine.write()
    engine.write()
    log.append_now(EPISODES_TOPIC, some[:2])
    while not engine.collect():
        pass
    engine.write()
    engine.close()
    block, again = meter.blocks
    assert (again.records, again.rows) == (2, 0)  # their numbers had come before
    assert (block.records, block.rows) == (len(some), ROWS)
    assert block.bytes == sum(len(record.payload) for record in some)


def test_a_dead_letter_is_counted_once_however_often_it_is_put() -> None:
    log, meter = MemoryLog(), KeptMeter()
    letters = LogDeadLetters(log, limit=limit(), now_ms=lambda: 0, meter=meter)

    def letter(offset: int, code: str) -> DeadLetter:
        return DeadLetter(EPISODES_TOPIC, Position(1, 0, offset), b"k", code, "why")

    letters.put([letter(1, "foreign_owner"), letter(2, "foreign_owner"), letter(2, "undecodable")])
    letters.put([letter(1, "foreign_owner")])
    letters.put([letter(1, "foreign_owner"), letter(3, "undecodable")])
    assert meter.letters == {"foreign_owner": 2, "undecodable": 2}
