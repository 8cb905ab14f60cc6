"""What every store promises: first-wins rows, newest-wins facts, reads that see every write, erasure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from support.ingest_adapters import STORES, StoreFactory
from support.ingest_streams import BENCHMARK, LAYOUT, STREAM, RowItem, StreamOfItems, batch_of, new_record
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryLog, MemoryStore
from tupli_ingest.core.block import Block, Piece
from tupli_ingest.core.headers import EpisodeFacts, StreamFacts
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import NO_BENCHMARK, EpisodeKey, EpisodeStore, stored_rows_schema
from tupli_ingest.core.ranges import RangeSet
from tupli_schemas.events import EPISODES_TOPIC
from tupli_schemas.ids import LOCAL_SUBJECT, episode_id, make_id, ordinal_of
from tupli_schemas.records import Position
from tupli_schemas.steps import Cell, Layout

KEY = EpisodeKey(BENCHMARK, LOCAL_SUBJECT, episode_id(STREAM, 1), LAYOUT.text)


@pytest.fixture(scope="module", params=STORES, ids=lambda factory: factory.__name__)
def new_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], EpisodeStore]]:
    factory: StoreFactory = request.param
    with factory(tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture
def store(new_store: Callable[[], EpisodeStore]) -> EpisodeStore:
    return new_store()


def write(store: EpisodeStore, batch: pa.RecordBatch, offset: int, layout: Layout = LAYOUT) -> None:
    block = Block()
    block.add(layout, Piece(batch, STREAM, LOCAL_SUBJECT, BENCHMARK, Position(1, 0, offset)))
    for one, rows in block.step_rows():
        store.write_steps(one, rows)


def read(
    store: EpisodeStore, key: EpisodeKey = KEY, ranges: Sequence[tuple[int, int]] = ((0, 2**62),)
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for batch in store.read_steps(key, ranges):
        rows += batch.to_pylist()
    return rows


def test_rows_come_back_bit_for_bit_in_their_schema(store: EpisodeStore) -> None:
    layout = Layout((Cell("f4", (2, 2)), Cell("text"), Cell("b1", (3,))), (Cell("u8"),), (Cell("f8"),))
    batch = batch_of([RowItem(1, 0, info=b'{"a":1}'), RowItem(1, 1, info=b"\xff\x00")], layout)
    odd = np.array([np.nan, -0.0, np.inf, 1e-45] * 2, np.float32)
    odd.view(np.uint32)[0] = 0x7FC0_0001
    columns = batch.columns
    columns[8] = pa.FixedSizeListArray.from_arrays(pa.array(odd), type=columns[8].type)
    columns[9] = pa.array([b"", "\u00e9\0\ud800".encode("utf-8", "surrogatepass")], pa.binary())
    columns[11] = pa.array([0, 2**64 - 1], pa.uint64())
    batch = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
    write(store, batch, 4, layout)
    (found,) = store.read_steps(replace(KEY, layout=layout.text), [(0, 10)])
    assert found.schema.equals(stored_rows_schema(layout))
    assert found.column("offset").to_pylist() == [4, 4]
    for name in batch.schema.names[1:]:
        ours, theirs = batch.column(name), found.column(name)
        if name == "o0":
            ours, theirs = (pa.array(c.flatten().to_numpy().view(np.uint32)) for c in (ours, theirs))
        assert ours.equals(theirs), name


def test_the_first_row_in_the_log_wins_whatever_is_written_first(store: EpisodeStore) -> None:
    write(store, batch_of([RowItem(1, 0, salt=5), RowItem(1, 1, salt=5)]), 50)
    write(store, batch_of([RowItem(1, 1, salt=3), RowItem(1, 2, salt=3)]), 30)
    write(store, batch_of([RowItem(1, 0, salt=9)]), 90)
    assert [(row["step"], row["offset"]) for row in read(store)] == [(0, 50), (1, 30), (2, 30)]


def test_of_rows_repeated_within_one_block_the_first_in_the_log_wins(store: EpisodeStore) -> None:
    """A block may hold a step twice, and may be all that the store has of an episode."""
    block = Block()
    for offset, salt, steps in ((70, 7, (0, 1, 2)), (60, 6, (1, 2, 3)), (80, 8, (0, 3))):
        batch = batch_of([RowItem(1, step, salt=salt) for step in steps])
        block.add(LAYOUT, Piece(batch, STREAM, LOCAL_SUBJECT, BENCHMARK, Position(1, 0, offset)))
    for layout, rows in block.step_rows():
        store.write_steps(layout, rows)
    found = [(row["step"], row["offset"], row["reward"]) for row in read(store)]
    assert found == [(0, 70, 7.0), (1, 60, 1 / 3 + 6), (2, 60, 2 / 3 + 6), (3, 60, 7.0)]


def test_rows_are_read_by_ranges_in_order(store: EpisodeStore) -> None:
    write(store, batch_of([RowItem(1, step) for step in range(5, 10)]), 2)
    write(store, batch_of([RowItem(1, step) for step in range(5)]), 1)
    write(store, batch_of([RowItem(2, step) for step in range(5)]), 3)
    assert [row["step"] for row in read(store, KEY, [(1, 2), (4, 5), (8, 100)])] == [1, 2, 4, 5, 8, 9]
    assert read(store, replace(KEY, benchmark=NO_BENCHMARK)) == []
    assert read(store, replace(KEY, layout="o=f8[];a=;x=")) == []
    assert read(store, KEY, [(50, 60)]) == []


def header(ordinal: int, offset: int, **changes: Any) -> EpisodeFacts:
    facts: dict[str, Any] = {
        "owner": LOCAL_SUBJECT,
        "episode": episode_id(STREAM, ordinal),
        "benchmark": BENCHMARK,
        "layout": LAYOUT.text,
        "offset": offset,
        "has_start": True,
        "metadata": {"site": "lab \u00e9'\\", "n": 2, "big": 2**60 + 1, "none": None},
        "received": RangeSet([(0, 3), (7, 9)]),
        "return_": -0.5,
        "policy": "ppo",
        "publish_in": ("lab", "x"),
        "reason": "a\nb",
    }
    return EpisodeFacts(**facts | changes)


def load(store: EpisodeStore, ordinals: list[int] | None = None) -> list[dict[str, Any]]:
    return sorted(store.load_streams({STREAM: ordinals})[STREAM].episodes, key=lambda row: row["episode"])


def test_facts_come_back_as_they_were(store: EpisodeStore) -> None:
    facts = header(1, 5), header(2, 6, policy=None, return_=None, metadata={}, received=RangeSet())
    stream = StreamFacts(
        stream=STREAM,
        owner=LOCAL_SUBJECT,
        received=RangeSet([(1, 5), (9, 9)]),
        open_episodes={4, 2},
        offset=6,
    )
    store.write_rows("episodes", [one.to_row() for one in facts])
    store.write_rows("streams", [stream.to_row()])
    found = store.load_streams({STREAM: None})[STREAM]
    assert found.stream is not None
    assert StreamFacts.from_row(found.stream) == stream
    loaded = [EpisodeFacts.from_row(row) for row in load(store)]
    assert loaded == list(facts)
    assert [one.to_row() for one in loaded] == [one.to_row() for one in facts]


def test_the_newest_facts_win_whatever_is_written_first(store: EpisodeStore) -> None:
    store.write_rows("episodes", [header(1, 9, reason="new").to_row()])
    store.write_rows("episodes", [header(1, 5, reason="old").to_row()])
    assert [row["reason"] for row in load(store)] == ["new"]


def test_streams_are_loaded_with_the_episodes_that_are_asked_for(store: EpisodeStore) -> None:
    other = make_id(1_700_000_000_000, 99)
    store.write_rows("episodes", [header(ordinal, ordinal).to_row() for ordinal in (1, 2, 7)])
    store.write_rows("episodes", [header(2, 1, benchmark=NO_BENCHMARK, has_start=False).to_row()])
    found = store.load_streams({STREAM: {2, 3}, other: None})
    benchmarks = sorted(row["benchmark"] for row in found[STREAM].episodes)
    assert (benchmarks, found[STREAM].highest, found[STREAM].stream) == ([NO_BENCHMARK, BENCHMARK], 7, None)
    assert (found[other].episodes, found[other].highest, found[other].stream) == ((), 0, None)
    assert store.load_streams({STREAM: []})[STREAM].episodes == ()
    assert store.load_streams({}) == {}
    brief = store.load_streams({STREAM: None}, columns=("episode", "version"))[STREAM]
    ordinals = [(ordinal_of(row["episode"]), row["version"]) for row in brief.episodes]
    assert (sorted(ordinals), brief.highest) == ([(1, 2), (2, 2), (2, 3), (7, 8)], 7)
    assert {len(row) for row in brief.episodes} == {2}


def test_episodes_are_found_by_benchmark_and_by_id(store: EpisodeStore) -> None:
    other = make_id(1, 1)
    store.write_rows("episodes", [header(1, 1).to_row(), header(2, 2, benchmark=other).to_row()])
    assert store.find_episodes(benchmark=BENCHMARK) == [KEY]
    assert [key.benchmark for key in store.find_episodes(ids=[episode_id(STREAM, 2), bytes(16)])] == [other]
    assert store.find_episodes(ids=[]) == []


def test_erasing_removes_exactly_the_keys_that_are_named(store: EpisodeStore) -> None:
    parked = replace(KEY, benchmark=NO_BENCHMARK)
    for ordinal in (1, 2):
        write(store, batch_of([RowItem(ordinal, 0)]), ordinal)
    store.write_rows("episodes", [header(1, 1).to_row(), header(2, 2).to_row()])
    store.write_rows("episodes", [header(1, 0, benchmark=NO_BENCHMARK).to_row()])
    store.erase([parked, replace(parked, layout="")])
    assert len(load(store)) == 2
    assert len(read(store)) == 1
    store.erase([KEY])
    assert read(store) == []
    assert [row["episode"] for row in load(store)] == [episode_id(STREAM, 2)]
    assert len(read(store, replace(KEY, episode=episode_id(STREAM, 2)))) == 1
    write(store, batch_of([RowItem(1, 0)]), 7)
    assert [row["offset"] for row in read(store)] == [7]
    store.erase([])


def test_writing_nothing_does_nothing_and_the_probe_succeeds(store: EpisodeStore) -> None:
    store.write_rows("episodes", [])
    store.probe()
    assert load(store) == []


def test_a_pipeline_over_it_gives_what_it_gives_over_memory(store: EpisodeStore) -> None:
    stream = StreamOfItems().episode(1, 30).episode(2, 10, end=False).episode(3, 5)
    other = [RowItem(3, 0, salt=1), RowItem(3, 1)]
    events = [
        *stream.events(2, 20, cut=4),
        *stream.events(10, 33, cut=7),
        *stream.events(1, 1),
        *stream.events(34, cut=5),
        *StreamOfItems(STREAM, [*stream.items[:45], *other]).events(46, 47),
    ]
    log, memory = MemoryLog(), MemoryStore()
    log.append_now(EPISODES_TOPIC, [new_record(event) for event in events])
    records = log.read(EPISODES_TOPIC, 0, max_bytes=2**30)
    for one in (memory, store):
        pipeline = Pipeline(one, MemoryDeadLetters())
        for start in range(0, len(records), 3):
            pipeline.add(records[start : start + 3])
            pipeline.flush()
    assert load(store) == load(memory)
    assert store.load_streams({STREAM: []}) == memory.load_streams({STREAM: []})
    for ordinal in (1, 2, 3):
        key = replace(KEY, episode=episode_id(STREAM, ordinal))
        assert read(store, key) == read(memory, key)
    assert [row["status"] for row in load(store)] == ["terminated", "open", "conflict"]
