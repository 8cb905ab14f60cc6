"""Bad input over HTTP: a problem document that names the place, status 4xx, and nothing half written."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import orjson
import pyarrow as pa
import pytest

import tupli
from support.environments import make, play
from support.ingest_service import EVENTS, JSON
from support.ingest_streams import (
    BENCHMARK,
    LAYOUT,
    STREAM,
    RowItem,
    StreamOfItems,
    batch_of,
    ended,
    started,
    steps_event,
)
from support.server_process import ServerProcess
from tupli import F
from tupli_schemas.catalog import CreateBenchmark, Delete, Publish, encode_command
from tupli_schemas.events import Event, StepsRecorded, encode_event
from tupli_schemas.framing import FLAG_ZSTD, HEADER, MAGIC, Kind, encode_frame
from tupli_schemas.ids import id_text, make_id
from tupli_schemas.steps import Cell, Layout

MIB = 1 << 20
EVENTS_PATH = "/ingest/v1/events"
COMMANDS_PATH = "/ingest/v1/commands"
QUERY_PATH = "/query/v1/datasets/query"
NOWHERE = make_id(9, 9)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a benchmark of the raw streams, `bench`, and one of CartPole episodes, `cartpole`."""
    folder = tmp_path_factory.mktemp("server")
    with ServerProcess(folder / "data") as server:
        made = CreateBenchmark(command_id="made", benchmark=BENCHMARK, name="bench")
        answer = httpx.post(
            server.url + COMMANDS_PATH, content=encode_command(made), headers=JSON, trust_env=False
        )
        assert answer.status_code == 200
        with tupli.record(make("cartpole"), "cartpole", url=server.url, spool_dir=folder / "spool") as env:
            play(env, 40, 1)
        yield server


def position(server: ServerProcess) -> dict[str, int]:
    """How far each topic of the log is."""
    path = server.data / "log.sqlite3"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as log:
        found = dict(log.execute("SELECT name, seq FROM sqlite_sequence"))
    log.close()
    assert found
    return found


def refused(
    server: ServerProcess, path: str, body: bytes, headers: dict[str, str], status: int, code: str, place: str
) -> dict[str, Any]:
    """The problem document of a request that must be refused as a whole."""
    before = position(server)
    answer = httpx.post(server.url + path, content=body, headers=headers, trust_env=False, timeout=30)
    document: dict[str, Any] = answer.json()
    got = (answer.status_code, document["code"], document.get("place", ""))
    assert got == (status, code, place), document
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["status"] == status
    assert document["detail"]
    assert document["request_id"] == answer.headers["x-request-id"]
    assert position(server) == before
    return document


# -- events ----------------------------------------------------------------------------------------------------


def body(*events: Event) -> bytes:
    return b"".join(encode_frame(Kind.EVENT, encode_event(event)) for event in events)


def rows(data: bytes, count: int = 2, layout: Layout = LAYOUT) -> bytes:
    """A request of a start and an event whose rows are these bytes."""
    steps = StepsRecorded(stream=STREAM, first=2, last=1 + count, layout=layout.text, body=data)
    return body(started(1, 1), steps)


def arrow(layout: Layout = LAYOUT, batches: int = 1, **options: Any) -> bytes:
    batch = batch_of([RowItem(1, 0), RowItem(1, 1)], layout)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for _ in range(batches):
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def bad_offsets() -> bytes:
    """Infos whose second offset points far behind their bytes."""
    batch = batch_of([RowItem(1, 0, info=b'{"a":1}'), RowItem(1, 1, info=b'{"b":2}')])
    offsets = np.array([0, 7, 14], np.int32).tobytes()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    good = bytes(sink.getvalue())
    assert good.count(offsets) == 1
    return good.replace(offsets, np.array([0, 1 << 30, 14], np.int32).tobytes())


def frame(raw_size: int, stored: bytes, flags: int) -> bytes:
    """A frame that says of its size what it likes."""
    honest = encode_frame(Kind.EVENT, stored)
    checksum = HEADER.unpack_from(honest)[-1]
    return HEADER.pack(MAGIC, Kind.EVENT, flags, raw_size, len(stored), checksum) + stored


GOOD = StreamOfItems().episode(1, 3).events()
ZIPPED = pa.Codec("zstd").compress(encode_event(GOOD[0]), asbytes=True)
BOMB = pa.Codec("zstd").compress(bytes(200 * MIB), asbytes=True)
DOUBLE = replace(LAYOUT, observation=(Cell("f8", (2,)),))
WIDE = replace(LAYOUT, observation=(Cell("f4", (3,)),))
REF = started(1, 1).benchmark
UNKNOWN = started(1, 1, benchmark=type(REF)(NOWHERE, "none"))

BAD_EVENTS: dict[str, tuple[Callable[[], bytes], int, str, str]] = {
    "unknown benchmark": (lambda: body(UNKNOWN), 404, "unknown_benchmark", "events[0].benchmark.id"),
    "unknown benchmark behind good ones": (
        lambda: body(*GOOD, started(7, 2, benchmark=UNKNOWN.benchmark)),
        404,
        "unknown_benchmark",
        "events[3].benchmark.id",
    ),
    "a number left out": (lambda: body(*GOOD[:1], *GOOD[2:]), 422, "invalid_event", "events[1].first"),
    "a number twice": (lambda: body(*GOOD, GOOD[-1]), 422, "invalid_event", "events[3].first"),
    "a step left out": (
        lambda: body(started(1, 1), steps_event(2, [RowItem(1, 0), RowItem(1, 2)])),
        422,
        "invalid_event",
        "events[1].rows.step",
    ),
    "an end that counts wrongly": (
        lambda: body(started(1, 1), steps_event(2, [RowItem(1, 0)]), ended(3, 1, 5, has_final=False)),
        422,
        "invalid_event",
        "events[2].n_steps",
    ),
    "another dtype": (lambda: rows(arrow(DOUBLE)), 422, "invalid_event", "events[1].rows"),
    "another shape": (lambda: rows(arrow(WIDE)), 422, "invalid_event", "events[1].rows"),
    "another layout than the start's": (
        lambda: rows(arrow(WIDE), layout=WIDE),
        422,
        "invalid_event",
        "events[1].layout",
    ),
    "cut Arrow": (lambda: rows(arrow()[:-9]), 422, "invalid_event", "events[1].rows"),
    "no Arrow": (lambda: rows(b"\xff" * 64), 422, "invalid_event", "events[1].rows"),
    "compressed Arrow": (lambda: rows(arrow(compression="zstd")), 422, "invalid_event", "events[1].rows"),
    "two batches": (lambda: rows(arrow(batches=2), 4), 422, "invalid_event", "events[1].rows"),
    "hostile offsets": (lambda: rows(bad_offsets()), 422, "invalid_event", "events[1].rows"),
    "more rows than said": (lambda: rows(arrow(), 3), 422, "invalid_event", "events[1].rows"),
    "no event in the frame": (
        lambda: encode_frame(Kind.EVENT, b"\x00" * 30),
        422,
        "invalid_event",
        "events[0]",
    ),
    "another kind of frame": (
        lambda: encode_frame(Kind.CLOSE, encode_event(GOOD[0])),
        400,
        "invalid_request",
        "events[0]",
    ),
    "nothing": (lambda: b"", 400, "invalid_request", "body"),
    "no frames": (lambda: b"GET / HTTP/1.1\r\n\r\n  ", 400, "invalid_frame", "frame 0"),
    "a cut body": (lambda: body(*GOOD)[:-1], 400, "invalid_frame", "frame 2"),
    "a flipped bit": (lambda: body(*GOOD)[:-1] + b"\x7f", 400, "invalid_frame", "frame 2"),
    "a frame that inflates to more than it says": (
        lambda: frame(100, BOMB, FLAG_ZSTD),
        400,
        "invalid_frame",
        "frame 0",
    ),
    "a frame that inflates to less than it says": (
        lambda: frame(len(encode_event(GOOD[0])) + 1, ZIPPED, FLAG_ZSTD),
        400,
        "invalid_frame",
        "frame 0",
    ),
    "a frame beyond the limit": (lambda: frame(13 * MIB, ZIPPED, FLAG_ZSTD), 400, "invalid_frame", "frame 0"),
    "frames that are too much together": (lambda: frame(12 * MIB, BOMB, FLAG_ZSTD) * 6, 413, "too_large", ""),
    "an oversized body": (lambda: bytes(32 * MIB + 1), 413, "too_large", ""),
}


@pytest.mark.parametrize("case", BAD_EVENTS)
def test_events(case: str, server: ServerProcess) -> None:
    make_body, status, code, place = BAD_EVENTS[case]
    document = refused(server, EVENTS_PATH, make_body(), EVENTS, status, code, place)
    if place.startswith("events["):
        assert document["index"] == int(place[7 : place.index("]")])
    state = httpx.get(f"{server.url}/ingest/v1/streams/{id_text(STREAM)}", trust_env=False)
    assert (state.status_code, state.json()["code"]) == (404, "unknown_stream")


def test_an_oversized_body_without_a_length(server: ServerProcess) -> None:
    chunks = (bytes(MIB) for _ in range(34))
    answer = httpx.post(server.url + EVENTS_PATH, content=chunks, headers=EVENTS, trust_env=False, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("headers", "place"),
    [
        ({"content-type": "application/json"}, "content-type"),
        ({}, "content-type"),
        (EVENTS | {"content-encoding": "gzip"}, "content-encoding"),
    ],
)
def test_other_bodies(headers: dict[str, str], place: str, server: ServerProcess) -> None:
    refused(server, EVENTS_PATH, body(*GOOD), headers, 415, "unsupported_media_type", place)


# -- commands --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "status", "code", "place"),
    [
        (b"{", 400, "invalid_request", "body"),
        (b'{"event":"Drop","version":1,"members":{}}', 400, "invalid_request", "event"),
        (CreateBenchmark(command_id="", benchmark=NOWHERE, name="x"), 400, "invalid_request", "command_id"),
        (CreateBenchmark(command_id="a", benchmark=NOWHERE, name=""), 400, "invalid_request", "name"),
        (CreateBenchmark(command_id="a", benchmark=NOWHERE, name="a b"), 400, "invalid_request", "name"),
        (Publish(command_id="b", kind="user", ids=(NOWHERE,)), 400, "invalid_request", "kind"),
        (Delete(command_id="c", kind="episode", ids=()), 400, "invalid_request", "ids"),
    ],
)
def test_commands(command: Any, status: int, code: str, place: str, server: ServerProcess) -> None:
    raw = command if isinstance(command, bytes) else encode_command(command)
    refused(server, COMMANDS_PATH, raw, JSON, status, code, place)


# -- queries ---------------------------------------------------------------------------------------------------


def nested(depth: int) -> dict[str, Any]:
    condition: dict[str, Any] = {"type": "EQ", "key": "reward", "value": 1}
    for _ in range(depth):
        condition = {"type": "NOT", "filters": [condition]}
    return condition


ONE = {"type": "EQ", "key": "reward", "value": 1}
BAD_FILTERS: list[tuple[Any, str, str]] = [
    ({"type": "EQ", "key": "rewart", "value": 1}, "unknown_key", ".key"),
    ({"type": "AND", "filters": [ONE, {"type": "GT", "key": "obs", "value": 1}]}, "unknown_key", ".filters[1].key"),
    ({"type": "GT", "key": "reward", "value": {"a": 1}}, "invalid_filter", ".value"),
    ({"type": "LT", "key": "reward", "value": None}, "invalid_filter", ".value"),
    ({"type": "GT", "key": "reward", "value": [1, 2]}, "invalid_filter", ".value"),
    ({"type": "BETWEEN", "key": "reward", "value": [1, "x"]}, "invalid_filter", ".value"),
    ({"type": "IN", "key": "reward", "value": 1}, "invalid_filter", ".value"),
    ({"type": "IN", "key": "reward", "value": [0.5] * 10_001}, "invalid_filter", ".value"),
    ({"type": "EQ", "key": "observation", "value": 1}, "invalid_filter", ".key"),
    ({"type": "EQ", "key": "observation[7]", "value": 1}, "invalid_filter", ".key"),
    ({"type": "AND", "filters": []}, "invalid_filter", ".filters"),
    ({"type": "OR", "filters": []}, "invalid_filter", ".filters"),
    ({"type": "LIKE", "key": "reward", "value": 1}, "invalid_filter", ".type"),
    ({"type": "AND", "filters": [ONE] * 1_001}, "invalid_filter", ".filters[999]"),
    ([1], "invalid_filter", ""),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "code", "place"), BAD_FILTERS)
def test_filters(condition: Any, code: str, place: str, server: ServerProcess) -> None:
    question = {
        "benchmark_filter": {"type": "EQ", "key": "name", "value": "cartpole"},
        "tuple_filter": condition,
        "columns": ["reward"],
    }
    document = refused(server, QUERY_PATH, orjson.dumps(question), JSON, 422, code, f"tuple_filter{place}")
    if code == "unknown_key":
        assert {"reward", "observation", "action"} <= set(document["known"])


def test_a_filter_that_is_too_deep(server: ServerProcess) -> None:
    question = orjson.dumps({"tuple_filter": nested(40)})
    place = "tuple_filter" + ".filters[0]" * 32
    refused(server, QUERY_PATH, question, JSON, 422, "invalid_filter", place)


def test_a_question_that_is_too_large(server: ServerProcess) -> None:
    refused(server, QUERY_PATH, b" " * (4 * MIB + 1), JSON, 413, "too_large", "")


def test_the_client_raises_what_the_server_says(server: ServerProcess) -> None:
    data = tupli.dataset("cartpole", url=server.url)
    with pytest.raises(tupli.InvalidInput) as caught:
        data.with_tuple_filter(F("rewart") > 1).to_numpy()
    assert caught.value.place == "tuple_filter.key"
    assert caught.value.problem is not None
    assert "reward" in caught.value.problem.members["known"]
    with pytest.raises(tupli.InvalidInput, match="polizy"):
        data.with_episode_filter(F("polizy") == "x").preview()
    with pytest.raises(tupli.Conflict):
        tupli.record(make("pendulum"), "cartpole", url=server.url, spool_dir=server.data / "spool")
    with pytest.raises(tupli.NotFound):
        tupli.TupliAPIClient(server.url).load_benchmark(id_text(NOWHERE))
