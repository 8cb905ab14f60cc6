"""Events survive their bytes; bytes that are cut, damaged, compressed or something else are an EventError."""

import tracemalloc
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import golden
from tupli_schemas.errors import ContractError, EventError
from tupli_schemas.events import Event, StepsRecorded, decode_event, decode_rows, encode_event, encode_rows
from tupli_schemas.ids import episode_id
from tupli_schemas.steps import Layout

LAYOUT = golden.SCHEMA.layout
ROWS = golden.rows(LAYOUT)
BODY = encode_rows(ROWS)
EVENTS = {event.NAME: event for event in golden.events()}


def with_head(name: str, /, **members: Any) -> bytes:
    """The bytes of an event whose head has other members; `...` removes one."""
    raw = encode_event(EVENTS[name])
    size = int.from_bytes(raw[:4], "little")
    head = orjson.loads(raw[4 : 4 + size]) | members
    text = orjson.dumps({key: value for key, value in head.items() if value is not ...})
    return len(text).to_bytes(4, "little") + text + raw[4 + size :]


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_events_survive_their_bytes(event: Event) -> None:
    assert decode_event(encode_event(event)) == event


def test_rows_survive_their_bytes() -> None:
    assert decode_rows(BODY, LAYOUT).equals(ROWS)
    assert decode_rows(encode_rows(ROWS.slice(1, 1)), LAYOUT).equals(ROWS.slice(1, 1))


@pytest.mark.parametrize("name", ["EpisodeStarted", "EpisodeEnded", "EpisodeAmended"])
def test_an_event_that_is_cut_anywhere_is_refused(name: str) -> None:
    raw = encode_event(EVENTS[name])
    for cut in range(len(raw)):
        with pytest.raises(EventError):
            decode_event(raw[:cut], place="events[0]")


def test_rows_that_are_cut_anywhere_are_refused() -> None:
    for cut in range(len(BODY)):
        with pytest.raises(EventError):
            decode_rows(BODY[:cut], LAYOUT)


def test_nothing_may_follow_the_record_batch() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, ROWS.schema) as writer:
        writer.write_batch(ROWS)
        writer.write_batch(ROWS)
    for body in (BODY + b"x", BODY + BODY, BODY + BODY[-8:], bytes(sink.getvalue())):
        with pytest.raises(EventError):
            decode_rows(body, LAYOUT)


def test_no_record_batch_is_not_one() -> None:
    sink = pa.BufferOutputStream()
    pa.ipc.new_stream(sink, ROWS.schema).close()
    with pytest.raises(EventError):
        decode_rows(bytes(sink.getvalue()), LAYOUT)


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_compressed_arrow_is_refused(codec: str) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, ROWS.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_batch(ROWS)
    with pytest.raises(EventError, match="compressed"):
        decode_rows(bytes(sink.getvalue()), LAYOUT)


def test_a_small_compressed_body_is_not_inflated() -> None:
    layout = Layout.parse("o=u1[1000000];a=;x=")
    zeros = pa.FixedSizeListArray.from_arrays(
        pa.array(np.zeros(3_000_000, "u1")), type=layout.observation[0].arrow_type
    )
    columns = [ROWS.column(i) for i in range(8)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(
        sink, layout.arrow_schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
    ) as writer:
        writer.write_batch(pa.record_batch([*columns, zeros], schema=layout.arrow_schema))
    del zeros
    body = bytes(sink.getvalue())
    assert len(body) < 20_000
    before = pa.total_allocated_bytes()
    with pytest.raises(EventError, match="compressed"):
        decode_rows(body, layout)
    assert pa.total_allocated_bytes() - before < 100_000


@pytest.mark.parametrize(
    "layout",
    [
        "o=f4[2]|text|raw;a=i8[];x=f8[]",
        "o=f4[3]|text|raw;a=i8[];x=f8[]",
        "o=f4[2]|raw|text;a=i4[];x=f8[]",
        "o=f4[2]|text|raw|raw;a=i8[];x=f8[]",
        "o=;a=;x=",
    ],
)
def test_the_schema_must_be_that_of_the_layout(layout: str) -> None:
    other = Layout.parse(layout)
    if other.arrow_schema.equals(LAYOUT.arrow_schema):
        decode_rows(BODY, other)
        return
    with pytest.raises(EventError, match="schema"):
        decode_rows(BODY, other)


def test_metadata_in_the_schema_and_nulls_are_refused() -> None:
    noted = ROWS.replace_schema_metadata({"a": "b"})
    nullable = pa.schema([field.with_nullable(True) for field in ROWS.schema])
    column = pa.array([1.0, None, 2.0])
    null = ROWS.set_column(3, ROWS.schema.field(3), column)
    for batch in (noted, pa.record_batch(ROWS.columns, schema=nullable), null):
        with pytest.raises(EventError):
            decode_rows(encode_rows(batch), LAYOUT)


def test_booleans_are_0_and_1() -> None:
    layout = Layout.parse("o=b1[2]|b1[];a=;x=")
    for value, fits in ((1, True), (2, False)):
        pair = pa.FixedSizeListArray.from_arrays(
            pa.array([0, 1] * 2 + [0, value], pa.uint8()), type=layout.observation[0].arrow_type
        )
        columns = [ROWS.column(i) for i in range(8)]
        body = encode_rows(
            pa.record_batch([*columns, pair, pa.array([0, 1, 0], pa.uint8())], schema=layout.arrow_schema)
        )
        if fits:
            decode_rows(body, layout)
        else:
            with pytest.raises(EventError) as raised:
                decode_rows(body, layout, place="events[3].rows")
            assert raised.value.place == "events[3].rows.o0"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(BODY) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_arrow_is_refused_or_whole(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(BODY)
    for at, byte in changes:
        damaged[at] = byte
    try:
        batch = decode_rows(bytes(damaged), LAYOUT)
    except EventError:
        return
    assert batch.schema == LAYOUT.arrow_schema
    batch.to_pylist()


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_an_event_error(raw: bytes) -> None:
    for data in (raw, len(raw).to_bytes(4, "little") + raw):
        with pytest.raises(EventError):
            decode_event(data)
    with pytest.raises(EventError):
        decode_rows(raw, LAYOUT)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("EpisodeStarted", {"event": "New"}, "events[0]"),
    ("EpisodeStarted", {"event": ["x"]}, "events[0]"),
    ("EpisodeStarted", {"version": 2}, "events[0]"),
    ("EpisodeStarted", {"version": ...}, "events[0]"),
    ("EpisodeStarted", {"stream": ...}, "events[0]"),
    ("EpisodeStarted", {"stream": "x"}, "events[0].stream"),
    ("EpisodeStarted", {"stream": 5}, "events[0].stream"),
    ("EpisodeStarted", {"first": 0}, "events[0]"),
    ("EpisodeStarted", {"first": "1"}, "events[0].first"),
    ("EpisodeStarted", {"first": True}, "events[0].first"),
    ("EpisodeStarted", {"first": 1.0}, "events[0].first"),
    ("EpisodeStarted", {"first": 2**63}, "events[0].first"),
    ("EpisodeStarted", {"episode": 0}, "events[0]"),
    ("EpisodeStarted", {"episode": 2**32}, "events[0]"),
    ("EpisodeStarted", {"benchmark": {}}, "events[0].benchmark"),
    ("EpisodeStarted", {"benchmark": {"id": "x"}}, "events[0].benchmark"),
    ("EpisodeStarted", {"benchmark": None}, "events[0].benchmark"),
    ("EpisodeStarted", {"step_schema": {}}, "events[0].step_schema"),
    ("EpisodeStarted", {"step_schema": None}, "events[0].step_schema"),
    ("EpisodeStarted", {"publish_in": "lab"}, "events[0].publish_in"),
    ("EpisodeStarted", {"publish_in": [5]}, "events[0].publish_in"),
    ("EpisodeStarted", {"policy": 5}, "events[0].policy"),
    ("EpisodeStarted", {"run": None}, "events[0].run"),
    ("EpisodeStarted", {"environment": []}, "events[0].environment"),
    ("EpisodeStarted", {"versions": "x"}, "events[0].versions"),
    ("StepsRecorded", {"layout": 5}, "events[0].layout"),
    ("StepsRecorded", {"last": 1}, "events[0]"),
    ("EpisodeEnded", {"n_steps": -1}, "events[0].n_steps"),
    ("EpisodeEnded", {"terminated": 1}, "events[0].terminated"),
    ("EpisodeEnded", {"terminated": False, "truncated": False, "aborted": False}, "events[0]"),
    ("EpisodeEnded", {"return_": "1"}, "events[0].return_"),
    ("EpisodeEnded", {"digest": 5}, "events[0].digest"),
]


@pytest.mark.parametrize(
    ("name", "members", "place"), BAD, ids=[f"{name}-{members}" for name, members, _ in BAD]
)
def test_a_head_that_breaks_the_contract_is_refused_and_the_place_is_named(
    name: str, members: dict[str, Any], place: str
) -> None:
    with pytest.raises(EventError) as raised:
        decode_event(with_head(name, **members), place="events[0]")
    assert raised.value.place == place


def test_an_episodes_id_is_no_stream() -> None:
    raw = with_head("EpisodeStarted", stream="01000000-0000-8000-8000-000000000001")
    with pytest.raises(EventError, match="episode's id"):
        decode_event(raw)
    assert episode_id(golden.STREAM, 1)


@pytest.mark.parametrize("text", [b"[]", b"5", b"null", b'"x"', b"{", b"[" * 5000])
def test_a_head_that_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(EventError):
        decode_event(len(text).to_bytes(4, "little") + text)


def test_only_steps_have_a_body() -> None:
    with pytest.raises(EventError):
        decode_event(encode_event(EVENTS["EpisodeEnded"]) + b"x")


def test_rows_of_an_event_are_those_of_its_layout() -> None:
    event = EVENTS["StepsRecorded"]
    assert isinstance(event, StepsRecorded)
    assert event.rows().equals(ROWS)
    with pytest.raises(ContractError):
        StepsRecorded(stream=event.stream, first=1, last=3, layout="nonsense", body=event.body).rows()


@pytest.mark.parametrize("filled", [3_000, 10_000])
def test_step_schemas_that_anyone_sends_do_not_fill_the_memory(filled: int) -> None:
    raw = golden.SCHEMA.to_json()
    tracemalloc.start()
    try:
        for number in range(90):
            hostile = raw | {"observation_space": [[]] * filled + [number]}
            decode_event(with_head("EpisodeStarted", step_schema=hostile))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 55_000_000
