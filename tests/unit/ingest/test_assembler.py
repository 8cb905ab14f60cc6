"""The assembler, through the pipeline and the ports in memory."""

from collections.abc import Sequence
from typing import Any

import pytest

from support.ingest_streams import (
    BENCHMARK,
    LAYOUT,
    OTHER_SUBJECT,
    SCHEMA,
    STREAM,
    RowItem,
    StreamOfItems,
    ended,
    new_record,
    started,
    steps_event,
)
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryLog, MemoryStore
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import NO_BENCHMARK, Row
from tupli_schemas.events import EPISODES_TOPIC, EpisodeAmended, Event
from tupli_schemas.ids import LOCAL_SUBJECT, episode_id
from tupli_schemas.records import NewRecord
from tupli_schemas.steps import Cell, Layout, Leaf, StepSchema


class World:
    """A log, a store and a pipeline between them; `send` flushes after every event unless told otherwise."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.store = MemoryStore()
        self.letters = MemoryDeadLetters()
        self.pipeline = Pipeline(self.store, self.letters)

    def send(self, *events: Event, one_block: bool = False, subject: bytes = LOCAL_SUBJECT) -> "World":
        return self.send_records(
            [new_record(event, subject=subject) for event in events], one_block=one_block
        )

    def send_records(self, records: Sequence[NewRecord], *, one_block: bool = False) -> "World":
        start = self.log.end(EPISODES_TOPIC)
        self.log.append_now(EPISODES_TOPIC, records)
        for record in self.log.read(EPISODES_TOPIC, start, max_bytes=2**40):
            self.pipeline.add([record])
            if not one_block:
                self.pipeline.flush()
        self.pipeline.flush()
        return self

    def header(self, ordinal: int = 1, *, benchmark: bytes = BENCHMARK) -> Row:
        wanted = (benchmark, episode_id(STREAM, ordinal))
        found = [r for r in self.store.rows("episodes") if (r["benchmark"], r["episode"]) == wanted]
        assert len(found) == 1, f"{len(found)} headers of episode {ordinal} under {benchmark.hex()}"
        return found[0]

    def steps(self, ordinal: int = 1, *, benchmark: bytes = BENCHMARK) -> list[int]:
        wanted = (benchmark, episode_id(STREAM, ordinal))
        return [key[4] for key in self.store.steps() if (key[1], key[3]) == wanted]

    @property
    def codes(self) -> list[str]:
        return [letter.code for letter in self.letters.read()]


@pytest.fixture(params=[False, True], ids=["block per record", "one block"])
def one_block(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def facts(row: Row, *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def test_a_whole_episode_becomes_rows_and_a_header(*, one_block: bool) -> None:
    world = World().send(*StreamOfItems().episode(1, 5).events(cut=2), one_block=one_block)
    header = world.header()
    assert facts(header, "status", "n_steps", "prefix", "return", "seed", "layout") == (
        "terminated",
        5,
        5,
        1.5,
        "1",
        LAYOUT.text,
    )
    assert header["ended_offset"] == header["offset"] == world.log.end(EPISODES_TOPIC) - 1
    assert header["version"] == header["offset"] + 1
    assert world.steps() == [0, 1, 2, 3, 4, 5]
    row = next(iter(world.store.steps().values()))
    assert (row["o0"], row["a0"], row["x0"], row["offset"]) == ([1000.0, 1000.0], 1000, b"1/0", 1)
    (stream,) = world.store.rows("streams")
    assert facts(stream, "owner", "received", "open_episodes") == (LOCAL_SUBJECT, [(1, 8)], [])
    assert not world.codes


def test_an_episode_was_received_when_its_last_record_was() -> None:
    world = World()
    for at, event in enumerate(StreamOfItems().episode(1, 4, end=False).events(cut=2)):
        world.send_records([new_record(event, received_at=1_000 + at)])
        assert world.header()["received_at"] == (1_000 + at) * 1_000_000
    (stream,) = world.store.rows("streams")
    assert (stream["first_received_at"], stream["last_received_at"]) == (1_000_000_000, 1_002_000_000)


def test_of_clocks_that_differ_the_one_that_is_ahead_counts() -> None:
    world = World()
    events = StreamOfItems().episode(1, 4, end=False).events(cut=2)
    for received_at, event in zip((2_000, 1_000, 1_500), events, strict=True):
        world.send_records([new_record(event, received_at=received_at)])
        assert world.header()["received_at"] == 2_000 * 1_000_000
    (stream,) = world.store.rows("streams")
    assert (stream["first_received_at"], stream["last_received_at"]) == (2_000_000_000, 2_000_000_000)


def test_an_open_episode_shows_its_prefix() -> None:
    world = World().send(*StreamOfItems().episode(1, 5, end=False).events())
    assert facts(world.header(), "status", "prefix", "ended_offset") == ("open", 5, 0)
    assert world.store.rows("streams")[0]["open_episodes"] == [1]


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ({"terminated": True, "truncated": True}, "terminated"),
        ({"terminated": False, "truncated": True}, "truncated"),
        ({"terminated": False, "aborted": True, "reason": "reset"}, "aborted"),
    ],
)
def test_how_an_episode_ended_is_its_status(flags: dict[str, Any], status: str) -> None:
    rows = [RowItem(1, 0), RowItem(1, 1, is_final=True)]
    world = World().send(started(1, 1), steps_event(2, rows), ended(4, 1, 1, **flags))
    assert world.header()["status"] == status


def test_an_episode_without_steps_can_be_aborted() -> None:
    end = ended(2, 1, 0, terminated=False, aborted=True, has_final=False)
    world = World().send(started(1, 1), end)
    assert facts(world.header(), "status", "prefix") == ("aborted", 0)


def test_a_gap_is_incomplete_until_it_is_filled(*, one_block: bool) -> None:
    stream = StreamOfItems().episode(1, 6)
    world = World().send(*stream.events(1, 3), *stream.events(6, 9), one_block=one_block)
    assert facts(world.header(), "status", "prefix", "received") == ("incomplete", 2, [(0, 1), (4, 6)])
    assert world.store.rows("streams")[0]["received"] == [(1, 3), (6, 9)]
    world.send(*stream.events(4, 5), one_block=one_block)
    assert facts(world.header(), "status", "prefix", "ended_offset") == (
        "terminated",
        6,
        world.header()["offset"],
    )


def test_a_row_that_lacks_in_an_open_episode_makes_it_incomplete() -> None:
    world = World().send(started(1, 1), steps_event(2, [RowItem(1, 0)]), steps_event(4, [RowItem(1, 2)]))
    assert facts(world.header(), "status", "prefix") == ("incomplete", 1)


def test_repetitions_cut_differently_change_nothing(*, one_block: bool) -> None:
    stream = StreamOfItems().episode(1, 6)
    plain = World().send(*stream.events())
    world = World().send(
        *stream.events(1, 4), *stream.events(2, 6, cut=2), *stream.events(1, 9, cut=3), one_block=one_block
    )
    assert world.header()["status"] == "terminated"
    assert [row["reward"] for row in world.store.steps().values()] == [
        row["reward"] for row in plain.store.steps().values()
    ]
    assert not world.codes


def test_a_repetition_with_other_content_is_a_conflict_and_the_first_stays(*, one_block: bool) -> None:
    stream = StreamOfItems().episode(1, 4)
    repeated = steps_event(3, [RowItem(1, 1), RowItem(1, 2, salt=1)])
    world = World().send(*stream.events(), repeated, one_block=one_block)
    header = world.header()
    assert facts(header, "status", "conflict", "conflict_reason", "prefix") == (
        "conflict",
        1,
        "step 2 was repeated with other content",
        4,
    )
    assert [row["reward"] for row in world.store.steps().values()][2] == 2 / 3


def test_a_repetition_in_the_same_record_as_new_rows_is_judged(*, one_block: bool) -> None:
    rows = [RowItem(1, i) for i in range(4)]
    world = World().send(
        started(1, 1),
        steps_event(2, rows[:2]),
        steps_event(2, [rows[0], RowItem(1, 1, salt=9), *rows[2:]]),
        one_block=one_block,
    )
    assert facts(world.header(), "conflict_reason", "prefix") == ("step 1 was repeated with other content", 4)
    assert world.steps() == [0, 1, 2, 3]


def test_a_repetition_of_nan_is_equal_and_of_minus_zero_is_not() -> None:
    rows = [RowItem(1, 0, salt=float("nan"))]  # type: ignore[arg-type]  # any number
    world = World().send(started(1, 1), steps_event(2, rows), steps_event(2, rows))
    assert world.header()["status"] == "open"
    zero = steps_event(3, [RowItem(1, 1, is_final=True)])
    minus = steps_event(3, [RowItem(1, 1, is_final=True, info=b"{}")])
    assert (
        World().send(started(1, 1), steps_event(2, [RowItem(1, 0)]), zero, minus).header()["status"] == "open"
    )


def test_a_number_that_held_another_step_is_a_conflict(*, one_block: bool) -> None:
    world = World().send(
        started(1, 1),
        steps_event(2, [RowItem(1, 0)]),
        steps_event(2, [RowItem(1, 5)]),
        steps_event(3, [RowItem(1, 5)]),
        one_block=one_block,
    )
    assert world.header()["conflict_reason"] == "step 5 was repeated with other content"
    assert world.steps() == [0, 5]


def test_the_same_step_under_two_numbers_is_a_conflict(*, one_block: bool) -> None:
    world = World().send(
        started(1, 1),
        steps_event(2, [RowItem(1, 0)]),
        steps_event(3, [RowItem(1, 0, salt=1)]),
        one_block=one_block,
    )
    assert world.header()["conflict_reason"] == "step 0 came under two numbers"
    assert next(iter(world.store.steps().values()))["reward"] == 0.0


def test_starts_and_ends_may_be_repeated_but_not_changed() -> None:
    stream = StreamOfItems().episode(1, 1)
    again = World().send(*stream.events(), started(1, 1), ended(4, 1, 1))
    assert again.header()["status"] == "terminated"
    start = World().send(*stream.events(), started(1, 1, seed=99))
    assert start.header()["conflict_reason"] == "its start was repeated with another seed"
    end = World().send(*stream.events(), ended(4, 1, 1, return_=None))
    assert end.header()["conflict_reason"] == "its end was repeated with another return_"


def test_of_several_conflicts_the_first_is_told(*, one_block: bool) -> None:
    stream = StreamOfItems().episode(1, 3)
    world = World().send(
        *stream.events(),
        steps_event(2, [RowItem(1, 0, salt=1)]),
        started(9, 1),
        ended(10, 1, 3),
        one_block=one_block,
    )
    assert world.header()["conflict_reason"] == "step 0 was repeated with other content"


def test_rows_wait_for_their_start_and_are_moved_when_it_comes(*, one_block: bool) -> None:
    stream = StreamOfItems().episode(1, 4)
    world = World().send(*stream.events(2, 5), one_block=one_block)
    assert facts(world.header(benchmark=NO_BENCHMARK), "status", "prefix") == ("incomplete", 4)
    assert world.steps(benchmark=NO_BENCHMARK) == [0, 1, 2, 3]
    world.send(*stream.events(6, 7), *stream.events(1, 1), one_block=one_block)
    assert facts(world.header(), "status", "prefix") == ("terminated", 4)
    assert world.steps() == [0, 1, 2, 3, 4]
    assert not world.steps(benchmark=NO_BENCHMARK)
    assert len(world.store.rows("episodes")) == 1
    assert next(iter(world.store.steps().values()))["offset"] == 0


def test_an_end_before_the_start_and_the_steps_waits_for_them(*, one_block: bool) -> None:
    stream = StreamOfItems().episode(1, 2)
    events = stream.events(5, 5), stream.events(2, 4), stream.events(1, 1)
    world = World().send(*(event for group in events for event in group), one_block=one_block)
    assert facts(world.header(), "status", "prefix", "metadata") == ("terminated", 2, '{"site":"lab"}')


def test_a_vector_of_episodes_shares_records(*, one_block: bool) -> None:
    starts = [started(i, i) for i in (1, 2, 3)]
    rows = [RowItem(ordinal, step) for step in range(4) for ordinal in (1, 2, 3)]
    finals = [RowItem(ordinal, 4, is_final=True) for ordinal in (1, 2, 3)]
    ends = [ended(18 + i, i, 4) for i in (1, 2, 3)]
    events: list[Event] = [*starts, steps_event(4, rows[:7]), steps_event(11, [*rows[7:], *finals]), *ends]
    world = World().send(*events, one_block=one_block)
    assert [world.header(i)["status"] for i in (1, 2, 3)] == ["terminated"] * 3
    assert world.steps(2) == [0, 1, 2, 3, 4]
    assert [row["o0"][0] for key, row in world.store.steps().items() if key[3] == episode_id(STREAM, 2)] == [
        2000.0,
        2001.0,
        2002.0,
        2003.0,
        2004.0,
    ]


def test_a_record_with_started_and_unstarted_episodes_is_divided() -> None:
    rows = [RowItem(1, 0), RowItem(2, 0), RowItem(1, 1), RowItem(2, 1)]
    world = World().send(started(1, 1), steps_event(3, rows))
    assert (world.steps(1), world.steps(2, benchmark=NO_BENCHMARK)) == ([0, 1], [0, 1])
    world.send(started(2, 2))
    assert (world.steps(2), world.header(2)["status"]) == ([0, 1], "open")


def test_another_subject_cannot_write_into_a_stream() -> None:
    stream = StreamOfItems().episode(1, 2)
    world = World().send(*stream.events(1, 2)).send(*stream.events(3, 5), subject=OTHER_SUBJECT)
    assert world.codes == ["foreign_owner"] * 2
    assert facts(world.header(), "status", "prefix", "owner") == ("open", 1, LOCAL_SUBJECT)
    world.send(*stream.events(3, 5))
    assert world.header()["status"] == "terminated"


OTHER_LAYOUT = Layout((Cell("f8"),), (Cell("i8"),))
OTHER_SCHEMA = StepSchema((Leaf("", Cell("f8")),), (Leaf("", Cell("i8")),))


def test_rows_of_another_layout_are_dead_letters() -> None:
    world = World().send(started(1, 1), steps_event(2, [RowItem(1, 0)], layout=OTHER_LAYOUT))
    assert world.codes == ["layout_mismatch"]
    assert world.steps() == []
    assert world.header()["status"] == "conflict"


def test_a_start_of_another_layout_than_its_rows_is_a_dead_letter(*, one_block: bool) -> None:
    world = World().send(
        steps_event(2, [RowItem(1, 0)]), started(1, 1, step_schema=OTHER_SCHEMA), one_block=one_block
    )
    assert world.codes == ["contradicting_start"]
    assert world.header(benchmark=NO_BENCHMARK)["status"] == "conflict"


def test_what_is_no_event_is_a_dead_letter_and_nothing_else() -> None:
    good = new_record(started(1, 1))
    broken = NewRecord(good.key, good.envelope, b"rubbish")
    foreign_key = NewRecord(bytes(16), good.envelope, good.payload)
    world = World().send_records([broken, foreign_key, good])
    assert world.codes == ["undecodable", "undecodable"]
    assert world.header()["status"] == "open"


def test_an_end_that_denies_rows_is_not_folded() -> None:
    world = World().send(started(1, 1), steps_event(2, [RowItem(1, i) for i in range(3)]), ended(5, 1, 2))
    assert facts(world.header(), "ended", "conflict_reason") == (0, "ends with 2 steps, but step 2 has come")


def test_rows_beyond_the_end_are_not_counted() -> None:
    world = World().send(*StreamOfItems().episode(1, 2).events(), steps_event(6, [RowItem(1, 3)]))
    assert facts(world.header(), "conflict_reason", "prefix", "received") == (
        "has 2 steps, but a row for step 3 came",
        2,
        [(0, 2)],
    )


def test_amendments_merge_metadata_and_discard() -> None:
    stream = StreamOfItems().episode(1, 1)
    note = EpisodeAmended(stream=STREAM, first=5, episode=1, metadata={"success": True})
    discard = EpisodeAmended(stream=STREAM, first=6, episode=1, discarded=True)
    world = World().send(*stream.events(), note, discard)
    header = world.header()
    assert facts(header, "metadata", "discarded", "status", "ended_offset") == (
        '{"site":"lab","success":true}',
        1,
        "terminated",
        2,
    )
    assert header["metadata_num"] == {"success": 1.0}
    assert header["metadata_str"] == {"site": "lab"}


def test_infos_are_indexed() -> None:
    rows = [RowItem(1, 0, info=b'{"a":{"b":2}}'), RowItem(1, 1)]
    world = World().send(started(1, 1), steps_event(2, rows))
    first, second = world.store.steps().values()
    assert (first["info_num"], first["info_other"], second["info_num"]) == ([("a.b", 2.0)], ["a"], [])


def test_headers_keep_their_step_schema() -> None:
    import orjson

    world = World().send(started(1, 1))
    assert StepSchema.from_json(orjson.loads(world.header()["step_schema"])) == SCHEMA
