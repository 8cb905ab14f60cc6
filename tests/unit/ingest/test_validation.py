"""What the gateway refuses, and where it says the fault is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from support.ingest_streams import (
    LAYOUT,
    STREAM,
    RowItem,
    StreamOfItems,
    batch_of,
    ended,
    started,
    steps_event,
)
from tupli_ingest.core.errors import RequestRefused
from tupli_ingest.core.validation import MAX_EVENTS, Accepted, Sender, accept_frames
from tupli_schemas.events import EpisodeAmended, Event, StepsRecorded, encode_event, encode_rows
from tupli_schemas.framing import Kind, decode_frames, encode_frame
from tupli_schemas.ids import LOCAL_SUBJECT, make_id
from tupli_schemas.steps import Cell, Layout

SENDER = Sender(subject=LOCAL_SUBJECT, received_at=5, client="test", request_id="r1")
OTHER_STREAM = make_id(1_700_000_000_000, 9)


def body(*events: Event) -> bytes:
    return b"".join(encode_frame(Kind.EVENT, encode_event(event)) for event in events)


def accept(data: bytes) -> Accepted:
    return accept_frames(decode_frames(data), SENDER)


def refusal(data: bytes) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        accept(data)
    return caught.value


def changed(name: str, values: Sequence[Any], rows: int = 2) -> StepsRecorded:
    """Rows with one column replaced."""
    batch = batch_of([RowItem(1, step) for step in range(rows)])
    at = batch.schema.get_field_index(name)
    field = batch.schema.field(at)
    columns = batch.columns
    columns[at] = pa.array(values, field.type)
    made = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
    return StepsRecorded(stream=STREAM, first=1, last=rows, layout=LAYOUT.text, body=encode_rows(made))


def test_a_whole_episode_is_accepted_and_stamped() -> None:
    events = StreamOfItems().episode(1, 5).events(cut=2)
    accepted = accept(body(*events))
    assert [record.payload for record in accepted.records] == [encode_event(event) for event in events]
    assert accepted.streams == {STREAM: 8}
    envelope = accepted.records[1].envelope
    assert (envelope.event, envelope.subject, envelope.received_at) == ("StepsRecorded", LOCAL_SUBJECT, 5)
    assert (envelope.client, envelope.request_id) == ("test", "r1")


def test_streams_are_judged_apart_and_a_request_may_begin_anywhere() -> None:
    one, two = StreamOfItems().episode(1, 5), StreamOfItems(OTHER_STREAM).episode(1, 3)
    events = [*one.events(4, 8), *two.events(2, 3)]
    assert accept(body(*events)).streams == {STREAM: 8, OTHER_STREAM: 3}


ROW = RowItem(1, 0)
FINAL = RowItem(1, 1, is_final=True)
MANY = [RowItem(1, 7), RowItem(1, 0), RowItem(2, 0)]


def with_steps(items: list[RowItem], steps: list[int]) -> StepsRecorded:
    """Rows of many episodes with these steps."""
    made = batch_of(items).set_column(1, LAYOUT.arrow_schema.field(1), pa.array(steps, pa.uint64()))
    event = steps_event(1, items)
    return replace(event, body=encode_rows(made))


WRONG: list[tuple[str, list[Event], str]] = [
    ("a gap", [started(1, 1), steps_event(3, [ROW])], "events[1].first"),
    ("an overlap", [steps_event(1, [ROW]), steps_event(1, [RowItem(1, 1)])], "events[1].first"),
    ("backwards", [steps_event(5, [ROW]), steps_event(2, [RowItem(1, 1)])], "events[1].first"),
    ("a stream's ordinal", [steps_event(1, [RowItem(0, 0)])], "events[0].rows.episode"),
    ("steps not in order", [steps_event(1, [RowItem(1, 1), ROW])], "events[0].rows.step"),
    ("a step left out", [steps_event(1, [ROW, RowItem(1, 2)])], "events[0].rows.step"),
    (
        "a step between events",
        [steps_event(1, [ROW]), steps_event(2, [RowItem(1, 2)])],
        "events[1].rows.step",
    ),
    ("steps that wrap", [with_steps(MANY, [2**64 - 1, 0, 0])], "events[0].rows.step"),
    ("steps that wrap, alone", [with_steps(MANY[:2], [2**64 - 1, 0])], "events[0].rows.step"),
    ("a step that is too large", [with_steps(MANY, [2**63 - 2, 2**63 - 1, 0])], "events[0].rows.step"),
    ("a start in the middle", [started(1, 1), steps_event(2, [RowItem(1, 3)])], "events[1].rows.step"),
    ("rows after final", [steps_event(1, [ROW, FINAL, RowItem(1, 2)])], "events[0].rows.is_final"),
    (
        "rows after final, later",
        [steps_event(1, [ROW, FINAL]), steps_event(3, [RowItem(1, 2)])],
        "events[1].rows.episode",
    ),
    ("rows after the end", [ended(1, 1, 0), steps_event(2, [RowItem(1, 2)])], "events[1].rows.episode"),
    ("two ends", [ended(1, 1, 0), ended(2, 1, 0)], "events[1].episode"),
    ("two starts", [started(1, 1), started(2, 1)], "events[1].episode"),
    ("a late start", [steps_event(1, [ROW]), started(2, 1)], "events[1].episode"),
    ("a wrong count", [steps_event(1, [ROW, FINAL]), ended(3, 1, 2)], "events[1].n_steps"),
    (
        "a final denied",
        [steps_event(1, [ROW, FINAL]), ended(3, 1, 1, has_final=False)],
        "events[1].has_final",
    ),
    ("a final invented", [steps_event(1, [ROW]), ended(2, 1, 1)], "events[1].has_final"),
    ("another count of rows", [replace(steps_event(1, [ROW]), last=2)], "events[0].rows"),
    (
        "another layout than the start",
        [started(1, 1), steps_event(2, [ROW], layout=Layout((Cell("f8"),), ()))],
        "events[1].layout",
    ),
    ("Arrow of another layout", [replace(steps_event(1, [ROW]), layout="o=f4[];a=;x=")], "events[0].rows"),
    ("no layout", [replace(steps_event(1, [ROW]), layout="nonsense")], "events[0].layout"),
    ("cut Arrow", [replace(steps_event(1, [ROW]), body=b"")], "events[0].rows"),
    ("a flag", [changed("truncated", [0, 7])], "events[0].rows.truncated"),
    ("a flag", [changed("is_final", [0, 7])], "events[0].rows.is_final"),
    ("an info that is no JSON", [changed("info", [b"{}", b"{nope"])], "events[0].rows.info"),
    ("an info that is no UTF-8", [changed("info", [b"{}", b'"\xff"'])], "events[0].rows.info"),
    ("values", [started(1, 1, options={"$nd": 1})], "events[0].options"),
    ("values", [EpisodeAmended(stream=STREAM, first=1, episode=1, metadata={"$b": 3})], "events[0].metadata"),
    ("a slot", [started(1, 1, slot=2**40)], "events[0].slot"),
    ("a scope", [started(1, 1, publish_in=("lab", "no such group!"))], "events[0].publish_in[1]"),
    ("scopes", [started(1, 1, publish_in=("lab",) * 101)], "events[0].publish_in"),
]


@pytest.mark.parametrize(("what", "events", "place"), WRONG, ids=[f"{i}-{w[0]}" for i, w in enumerate(WRONG)])
def test_what_is_wrong_inside_a_request_is_refused_with_its_place(
    what: str, events: list[Event], place: str
) -> None:
    refused = refusal(body(*events))
    assert (refused.problem.place, refused.problem.code, refused.problem.status) == (
        place,
        "invalid_event",
        422,
    )
    assert refused.index == refused.problem.members["index"] == len(events) - 1


def test_flags_of_a_final_row_are_refused() -> None:
    batch = batch_of([ROW, FINAL])
    columns = batch.columns
    columns[4] = pa.array(np.array([0, 1], np.uint8))
    made = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
    event = StepsRecorded(stream=STREAM, first=1, last=2, layout=LAYOUT.text, body=encode_rows(made))
    assert refusal(body(event)).problem.place == "events[0].rows.terminated"


def test_text_leaves_must_be_utf_8() -> None:
    layout = Layout((Cell("text"),), ())
    batch = batch_of([ROW], layout)
    columns = [*batch.columns[:-1], pa.array([b"\xff"], pa.binary())]
    made = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
    event = StepsRecorded(stream=STREAM, first=1, last=1, layout=layout.text, body=encode_rows(made))
    assert refusal(body(event)).problem.place == "events[0].rows.o0"


def test_surrogates_in_text_leaves_are_fine() -> None:
    layout = Layout((Cell("text"),), ())
    batch = batch_of([ROW], layout)
    columns = [*batch.columns[:-1], pa.array(["\ud800".encode("utf-8", "surrogatepass")], pa.binary())]
    made = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
    event = StepsRecorded(stream=STREAM, first=1, last=1, layout=layout.text, body=encode_rows(made))
    assert len(accept(body(event)).records) == 1


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        (b"", "invalid_request", "body"),
        (encode_frame(Kind.CLOSE, b"{}"), "invalid_request", "events[0]"),
        (encode_frame(Kind.EVENT, b"rubbish"), "invalid_event", "events[0]"),
        (encode_frame(Kind.EVENT, bytes(12 * 1024 * 1024 + 1)), "too_large", "events[0]"),
        (body(started(1, 1)) * (MAX_EVENTS + 1), "too_large", "body"),
    ],
)
def test_bodies_that_are_no_requests(data: bytes, code: str, place: str) -> None:
    problem = refusal(data).problem
    assert (problem.code, problem.place) == (code, place)


@pytest.mark.parametrize(
    "damage", [lambda data, at: data[:at], lambda data, at: data[:at] + b"\xff" + data[at + 1 :]]
)
def test_damage_anywhere_is_refused_or_harmless_but_never_an_accident(
    damage: Callable[[bytes, int], bytes],
) -> None:
    event = encode_event(steps_event(1, [ROW, FINAL]))
    for at in range(0, len(event), 7):
        try:
            accept(encode_frame(Kind.EVENT, damage(event, at)))
        except RequestRefused as refused:
            assert refused.index == 0  # noqa: PT017  -- a byte of user data may change and stay valid
