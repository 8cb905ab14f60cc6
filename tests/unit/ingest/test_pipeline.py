"""The order of writes, and what happens when one of them fails."""

import pyarrow as pa
import pytest

from support.ingest_crashes import Crash, DyingStore
from support.ingest_streams import BENCHMARK, LAYOUT, STREAM, StreamOfItems, new_record
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryLog, MemoryStore
from tupli_ingest.core.block import Block, Piece
from tupli_ingest.core.decoding import decode_steps
from tupli_ingest.core.errors import NoMoreTables, RowsRefused, StoreUnavailable
from tupli_ingest.core.pipeline import Pipeline
from tupli_schemas.events import EPISODES_TOPIC, Event, StepsRecorded
from tupli_schemas.ids import LOCAL_SUBJECT, episode_id
from tupli_schemas.records import Position, Record
from tupli_schemas.steps import Layout


def records_of(*events: Event) -> list[Record]:
    log = MemoryLog()
    log.append_now(EPISODES_TOPIC, [new_record(event) for event in events])
    return log.read(EPISODES_TOPIC, 0, max_bytes=2**30)


@pytest.mark.parametrize("writes", range(8))
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_rows_before_their_start_leave_nothing_behind_wherever_the_processor_dies(
    writes: int, share: float
) -> None:
    stream = StreamOfItems().episode(1, 2)
    records = records_of(*stream.events(2), *stream.events(1, 1))
    store = MemoryStore()
    dying = DyingStore(store)
    dying.writes_left, dying.share = writes, share
    pipeline = Pipeline(dying, MemoryDeadLetters())
    pipeline.add(records)
    if writes < 6:  # marker, rows, moved rows, headers, erasure, streams
        with pytest.raises(Crash):
            pipeline.flush()
    else:
        pipeline.flush()
    for record in records:
        again = Pipeline(store, MemoryDeadLetters())
        again.add([record])
        again.flush()
    assert {key[1] for key in store.steps()} == {BENCHMARK}
    assert [row["status"] for row in store.rows("episodes")] == ["terminated"]


class PickyStore(MemoryStore):
    """Refuses blocks with a row of this step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step
        self.calls = 0

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        self.calls += 1
        if self.step in rows.column("step").to_pylist():
            raise RowsRefused("too odd")
        super().write_steps(layout, rows)


def test_a_row_that_the_store_refuses_is_found_by_halving() -> None:
    store, letters = PickyStore(37), MemoryDeadLetters()
    pipeline = Pipeline(store, letters)
    pipeline.add(records_of(*StreamOfItems().episode(1, 100).events()))
    pipeline.flush()
    assert [key[4] for key in store.steps()] == [step for step in range(101) if step != 37]
    (letter,) = letters.read()
    assert (letter.code, letter.position.offset, letter.key) == ("rows_refused", 1, STREAM)
    (header,) = store.rows("episodes")
    assert (header["status"], header["conflict_reason"]) == ("conflict", "the store refuses step 37: too odd")
    assert store.calls < 20


class NarrowStore(PickyStore):
    """Makes no more step tables."""

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        self.calls += 1
        raise NoMoreTables("too many tables")


def test_rows_without_a_table_are_refused_at_once() -> None:
    store, letters = NarrowStore(0), MemoryDeadLetters()
    pipeline = Pipeline(store, letters)
    pipeline.add(records_of(*StreamOfItems().episode(1, 100).events()))
    pipeline.flush()
    (letter,) = letters.read()
    assert (letter.code, store.calls) == ("no_more_tables", 1)
    (header,) = store.rows("episodes")
    assert header["status"] == "conflict"


class TiredStore(MemoryStore):
    """Does not answer for a while."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("not now")
        super().write_steps(layout, rows)


def test_a_flush_may_be_repeated_until_it_succeeds() -> None:
    store = TiredStore(2)
    pipeline = Pipeline(store, MemoryDeadLetters())
    pipeline.add(records_of(*StreamOfItems().episode(1, 3).events()))
    assert pipeline.pending_rows == 4
    assert pipeline.pending_bytes > 0
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            pipeline.flush()
    pipeline.flush()
    assert (pipeline.pending_rows, pipeline.pending_bytes) == (0, 0)
    assert len(store.steps()) == 4
    (header,) = store.rows("episodes")
    assert (header["episode"], header["status"]) == (episode_id(STREAM, 1), "terminated")


def test_the_rows_of_a_block_are_put_together_once_and_their_bodies_let_go() -> None:
    (event,) = [e for e in StreamOfItems().episode(1, 3).events() if isinstance(e, StepsRecorded)]
    rows = decode_steps(event)
    block = Block()
    for offset in (5, 6):
        block.add(LAYOUT, Piece(rows.batch, STREAM, LOCAL_SUBJECT, BENCHMARK, Position(1, 0, offset)))
    ((layout, whole),) = block.step_rows()
    assert (layout, whole.num_rows) == (LAYOUT, 2 * rows.batch.num_rows)
    assert not block.pieces
    assert block.step_rows()[0][1] is whole  # what failed is written again
