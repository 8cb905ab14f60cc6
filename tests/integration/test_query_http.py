"""The endpoints: answers, problem documents, limits."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from support.query_calls import InProcessQuery
from support.store_fill import StoreFill, array_schema, episode_ids, random_rows
from tupli_query.adapters.chdb_reader import ChdbReader
from tupli_query.http.framed import MEDIA_TYPE
from tupli_query.http.routes import MAX_BODY_BYTES
from tupli_schemas.framing import Kind, decode_frames

SCHEMA = array_schema("f4[2]", "i8[]")
EPISODES = [random_rows(SCHEMA, 3 + i, seed=i, ordinal=i + 1, metadata={"month": f"m{i}"}) for i in range(5)]
QUERY = "/query/v1/datasets/query"
EQ = {"type": "EQ", "key": "reward", "value": 1}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ChdbReader, StoreFill]]:
    path = tmp_path_factory.mktemp("store")
    with StoreFill(path) as fill:
        fill.benchmark("bench", description="d")
        fill.episodes(SCHEMA, EPISODES)
        reader = ChdbReader(str(path))
        yield reader, fill
        reader.close()


@pytest.fixture
def query(store: tuple[ChdbReader, StoreFill]) -> InProcessQuery:
    return InProcessQuery(store[0])


def problem(query: InProcessQuery, path: str, body: bytes, **headers: str) -> dict[str, Any]:
    status, got, data = query.raw("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    document: dict[str, Any] = orjson.loads(data)
    assert got["content-type"] == "application/problem+json"
    assert document["status"] == status
    assert document["request_id"] == got["x-request-id"]
    assert got["x-content-type-options"] == "nosniff"
    return document


def test_headers_come_page_by_page_in_the_order_asked_for(query: InProcessQuery) -> None:
    body: dict[str, Any] = {"order_by": ["-n_tuples"], "limit": 2}
    seen: list[str] = []
    while True:
        answer = query.ask("/query/v1/episodes/list", body)
        seen += [header["id"] for header in answer["episodes"]]
        if answer["cursor"] is None:
            break
        body["cursor"] = answer["cursor"]
    assert seen == episode_ids(reversed(EPISODES))


def test_a_header_says_what_is_known(query: InProcessQuery) -> None:
    condition = {"type": "EQ", "key": "metadata.month", "value": "m1"}
    (header,) = query.ask("/query/v1/episodes/list", {"episode_filter": condition})["episodes"]
    assert header["metadata"] == {"month": "m1"}
    assert (header["status"], header["n_tuples"], header["terminated"]) == ("terminated", 4, True)
    assert header["return"] == pytest.approx(EPISODES[1].reward.sum())


def test_counts(query: InProcessQuery) -> None:
    path = "/query/v1/datasets/count"
    assert query.ask(path, {}) == {"episodes": 5, "tuples": 25}
    some = {"type": "GT", "key": "step", "value": 2}
    assert query.ask(path, {"tuple_filter": some}) == {"episodes": 5, "tuples": 25 - 15}
    assert query.ask(path, {"limit_episodes": 2}) == {"episodes": 2, "tuples": 7}


def test_benchmarks(query: InProcessQuery) -> None:
    (found,) = query.ask("/query/v1/benchmarks/list", {})["benchmarks"]
    assert (found["name"], found["description"]) == ("bench", "d")
    nobody = {"benchmark_filter": {"type": "EQ", "key": "name", "value": "x"}}
    assert query.ask("/query/v1/benchmarks/list", nobody)["benchmarks"] == []


def test_a_dataset_is_framed(query: InProcessQuery) -> None:
    headers, data = query.post(QUERY, b"{}")
    assert headers["content-type"] == MEDIA_TYPE
    kinds = [frame.kind for frame in decode_frames(data)]
    assert kinds[0] is Kind.QUERY_HEADER
    assert kinds[-1] is Kind.CLOSE
    assert Kind.ARROW in kinds


@pytest.mark.parametrize(
    ("path", "body", "code", "place"),
    [
        (QUERY, b"{", "invalid_request", ""),
        (QUERY, b"[]", "invalid_request", ""),
        (QUERY, b'{"colums":[]}', "invalid_request", "colums"),
        (QUERY, b'{"columns":["rewards"]}', "invalid_request", "columns[0]"),
        (QUERY, b'{"limit":-1}', "invalid_request", "limit"),
        (QUERY, b'{"position":[[1]]}', "invalid_request", "position"),
        (QUERY, b'{"cursor":{"after":"x"}}', "invalid_request", "cursor"),
        (QUERY, b'{"include":["finished"]}', "invalid_request", "include[0]"),
        (QUERY, b'{"tuple_filter":{"type":"AND","filters":[]}}', "invalid_filter", "tuple_filter.filters"),
        (
            QUERY,
            b'{"tuple_filter":{"type":"EQ","key":"rewart","value":1}}',
            "unknown_key",
            "tuple_filter.key",
        ),
        (
            QUERY,
            b'{"tuple_filter":{"type":"EQ","key":"observation","value":1}}',
            "invalid_filter",
            "tuple_filter.key",
        ),
        ("/query/v1/episodes/list", b'{"cursor":"zzz"}', "invalid_request", "cursor"),
        ("/query/v1/episodes/list", b'{"limit":100000}', "invalid_request", "limit"),
        ("/query/v1/episodes/list", b'{"order_by":["-"]}', "invalid_request", "order_by[0]"),
        ("/query/v2/episodes/list", b"{}", "not_found", ""),
    ],
)
def test_bad_input_is_a_problem_that_names_its_place(
    query: InProcessQuery, path: str, body: bytes, code: str, place: str
) -> None:
    document = problem(query, path, body)
    assert 400 <= document["status"] < 500
    assert document["code"] == code
    assert document.get("place", "") == place


def test_a_large_body_is_refused(query: InProcessQuery) -> None:
    assert problem(query, QUERY, b" " * (MAX_BODY_BYTES + 1))["code"] == "too_large"


def test_a_request_id_is_kept_when_it_is_a_plain_one(query: InProcessQuery) -> None:
    assert problem(query, QUERY, b"{", x_request_id="abc-1")["request_id"] == "abc-1"
    assert problem(query, QUERY, b"{", x_request_id="a b\n")["request_id"] != "a b\n"


def test_what_the_engine_says_stays_here(
    store: tuple[ChdbReader, StoreFill], query: InProcessQuery, caplog: pytest.LogCaptureFixture
) -> None:
    store[1].command(f"RENAME TABLE {store[1].database}.episodes TO {store[1].database}.elsewhere")
    try:
        document = problem(query, "/query/v1/episodes/list", b"{}")
    finally:
        store[1].command(f"RENAME TABLE {store[1].database}.elsewhere TO {store[1].database}.episodes")
    assert document["code"] == "internal"
    assert "elsewhere" not in str(document)
    assert "DB::Exception" not in str(document)
    assert "DB::Exception" in caplog.text
    assert document["request_id"] in caplog.text


def test_too_many_streams_are_told_to_wait(
    store: tuple[ChdbReader, StoreFill], query: InProcessQuery
) -> None:
    sessions = [store[0].session() for _ in range(16)]
    try:
        status, headers, _ = query.raw("POST", QUERY, b"{}")
    finally:
        for session in sessions:
            session.close()
    assert status == 429
    assert int(headers["retry-after"]) > 0


def test_health(query: InProcessQuery) -> None:
    assert query.raw("GET", "/livez")[0] == 200
    assert query.raw("GET", "/readyz")[0] == 200
