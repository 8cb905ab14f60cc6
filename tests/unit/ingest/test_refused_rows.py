"""Rows that the store refused come again, and make their episode whole."""

import pyarrow as pa
import pytest

from support.ingest_streams import RowItem, StreamOfItems, new_record
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryLog, MemoryStore
from tupli_ingest.core.errors import NoMoreTables, RowsRefused
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import Row
from tupli_schemas.events import EPISODES_TOPIC
from tupli_schemas.records import NewRecord, Record
from tupli_schemas.steps import Layout


class MoodyStore(MemoryStore):
    """Refuses one step, or all (-1), while it is `strict`."""

    strict = True
    step = -1

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        if self.strict and self.step < 0:
            raise NoMoreTables("too many tables")
        if self.strict and self.step in rows.column("step").to_pylist():
            raise RowsRefused("too odd")
        super().write_steps(layout, rows)


class World:
    """A log, a store and the letters; each call of `work` is a process of its own."""

    def __init__(self, step: int = -1) -> None:
        self.log, self.store, self.letters = MemoryLog(), MoodyStore(), MemoryDeadLetters()
        self.store.step = step
        self.done = 0

    def work(self, *, cut: int = 1) -> "World":
        records = self.log.read(EPISODES_TOPIC, self.done, max_bytes=2**30)
        pipeline = Pipeline(self.store, self.letters)
        for start in range(0, len(records), cut):
            pipeline.add(records[start : start + cut])
            pipeline.flush()
        self.done = self.log.end(EPISODES_TOPIC)
        return self

    def replay(self, letter: int) -> "World":
        position = self.letters.read()[letter].position
        (record,) = self.log.read(EPISODES_TOPIC, position.offset, max_bytes=1, max_records=1)
        self.log.append_now(EPISODES_TOPIC, [again(record)])
        return self

    @property
    def header(self) -> Row:
        (row,) = self.store.rows("episodes")
        return row


def again(record: Record) -> NewRecord:
    return NewRecord(record.key, record.envelope, record.payload)


def world(step: int = -1, *, cut: int = 1, rows: int = 10) -> World:
    made = World(step)
    events = StreamOfItems().episode(1, 30).events(cut=rows)
    made.log.append_now(EPISODES_TOPIC, [new_record(event) for event in events])
    return made.work(cut=cut)


@pytest.mark.parametrize("step", [-1, 0, 17, 29, 30])
@pytest.mark.parametrize("cut", [1, 100])
def test_a_replay_makes_the_episode_whole(step: int, cut: int) -> None:
    here = world(step, cut=cut)
    assert here.header["status"] == "conflict"
    here.store.strict = False
    for letter in range(len(here.letters.read())):
        assert here.header["status"] == "conflict"
        here.replay(letter).work()
    header = here.header
    assert (header["status"], header["conflict_reason"], header["prefix"]) == ("terminated", "", 30)
    assert [key[4] for key in here.store.steps()] == list(range(31))
    assert header["ended_offset"] == here.log.end(EPISODES_TOPIC) - 1
    seen = here.store.steps()
    for letter in range(len(here.letters.read())):
        here.replay(letter)
    assert (here.work(cut=cut).header["status"], here.store.steps()) == ("terminated", seen)


def test_a_replay_that_fails_again_is_a_new_letter() -> None:
    here = world(17)
    (letter,) = here.letters.read()
    here.replay(0).work()
    first, second = here.letters.read()
    assert (first, second.position.offset) == (letter, here.log.end(EPISODES_TOPIC) - 1)
    assert here.header["status"] == "conflict"
    here.store.strict = False
    assert here.replay(1).work().header["status"] == "terminated"


def test_a_rebuild_from_the_log_shows_the_same() -> None:
    here = world(17)
    here.store.strict = False
    here.replay(0).work()
    for cut in (1, 100):
        anew = World()
        anew.log, anew.store.strict = here.log, False
        anew.work(cut=cut)
        assert (anew.header["status"], anew.header["received"]) == ("terminated", here.header["received"])
        narrow = World(17)
        narrow.log = here.log
        narrow.work(cut=cut)
        assert narrow.header["status"] == "conflict"
        assert narrow.header["conflict_reason"].startswith("the store refuses step 17")


def test_another_conflict_is_told_before_refused_rows_and_stays() -> None:
    here = world(17)
    other = StreamOfItems().episode(1, 30)
    other.items[3] = RowItem(1, 2, salt=1)
    here.log.append_now(EPISODES_TOPIC, [new_record(other.events(3, 5)[0])])
    here.work()
    here.store.strict = False
    assert "repeated with other content" in here.replay(0).work().header["conflict_reason"]


def test_rows_refused_before_the_end_came() -> None:
    here = World()
    events = [new_record(event) for event in StreamOfItems().episode(1, 30).events(cut=10)]
    here.log.append_now(EPISODES_TOPIC, events[:-1])
    here.work()
    here.store.strict = False
    for letter in range(len(here.letters.read())):
        here.replay(letter).work()
    here.log.append_now(EPISODES_TOPIC, events[-1:])
    assert here.work().header["status"] == "terminated"
    assert [key[4] for key in here.store.steps()] == list(range(31))
