"""The frames of an answer: what goes in comes out once, counted, checked and cut where it must be."""

import struct
from functools import partial

import numpy as np
import orjson
import pyarrow as pa
import pytest
import xxhash

from tupli_query.core.headers import HEADER_PORTION_BYTES, portion
from tupli_query.core.pages import Listed, cut_pages, held_rows
from tupli_query.core.reader import Chunk
from tupli_query.core.stream import FrameStream
from tupli_schemas.framing import MAX_FRAME_BYTES, Frame, Kind, PartJoiner, decode_frames


def over_checksums(*payloads: bytes) -> str:
    sums = [struct.pack("<Q", xxhash.xxh3_64_intdigest(payload)) for payload in payloads]
    return str(xxhash.xxh3_64(b"".join(sums)).hexdigest())


def chunk_of(matches: list[int], size: int = 8) -> Chunk:
    table = pa.table(
        {
            "step": pa.array(np.arange(len(matches), dtype=np.uint64)),
            "is_match": pa.array(matches, pa.uint8()),
            "o0": pa.array([bytes(size)] * len(matches), pa.binary()),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Chunk(bytes(sink.getvalue()), len(matches))


def frames(stream: FrameStream, *chunks: Chunk) -> list[Frame]:
    parts = [part for chunk in chunks for parts in stream.chunk(chunk) for part in parts]
    return decode_frames(b"".join([*parts, *stream.close()]))


def matches_of(frame: Frame) -> list[int]:
    return list(pa.ipc.open_stream(frame.payload).read_all().column("is_match").to_pylist())


def test_chunks_are_passed_on_as_they_are() -> None:
    one, two = chunk_of([1, 1]), chunk_of([1])
    *rows, close = frames(FrameStream(), one, two)
    assert [frame.payload for frame in rows] == [one.data, two.data]
    said = orjson.loads(close.payload)
    assert said == {"rows": 3, "checksum": over_checksums(one.data, two.data), "cursor": None}


def test_a_chunk_above_the_size_of_a_frame_is_cut() -> None:
    chunk = chunk_of([1] * 5, size=MAX_FRAME_BYTES // 3)
    *rows, close = frames(FrameStream(), chunk)
    assert len(rows) > 1
    assert sum(len(matches_of(frame)) for frame in rows) == 5
    assert orjson.loads(close.payload)["rows"] == 5


@pytest.mark.parametrize(
    ("limit", "pairs", "chunks", "kept"),
    [
        (2, False, [[1, 1, 1]], [1, 1]),
        (2, True, [[1, 1, 1]], [1, 1, 0]),
        (2, True, [[1, 1], [1, 1]], [1, 1, 0]),
        (2, False, [[1, 1], [1, 1]], [1, 1]),
        (2, True, [[1, 0, 1], [0, 1]], [1, 0, 1, 0, 0]),
        (9, True, [[1, 1], [0]], [1, 1, 0]),
    ],
)
def test_a_limit_counts_tuples_and_leaves_the_row_behind(
    *, limit: int, pairs: bool, chunks: list[list[int]], kept: list[int]
) -> None:
    stream = FrameStream(limit=limit, pairs=pairs)
    *rows, _ = frames(stream, *map(chunk_of, chunks))
    assert [match for frame in rows for match in matches_of(frame)] == kept
    assert stream.is_full == (limit == 2)


def test_a_page_that_ends_with_the_limit_is_the_last() -> None:
    stream = FrameStream(limit=1, pairs=True)
    list(stream.chunk(chunk_of([1])))
    assert not stream.is_full
    stream.page_over()
    assert stream.is_full


def test_header_and_page_come_as_json_frames() -> None:
    stream = FrameStream()
    head, page = decode_frames(b"".join([*stream.head({"a": 1}), *stream.page({"b": 2})]))
    assert (head.kind, page.kind) == (Kind.QUERY_HEADER, Kind.QUERY_HEADER)
    assert orjson.loads(head.payload) == {"type": "dataset", "a": 1}
    assert orjson.loads(page.payload) == {"type": "page", "b": 2}


@pytest.mark.parametrize("limit", [None, 0, 3, 5])
def test_pages_are_bounded_and_lose_nobody(limit: int | None) -> None:
    listed = [Listed({"n_tuples": n}, partial(str, i)) for i, n in enumerate([5, 5, 30, 1, 1, 1])]
    pages = list(cut_pages(listed, first=2, most_rows=10, limit=None if limit is None else limit + 2))
    cut = [item for page in pages for item in page.listed]
    assert cut == listed[:limit]
    assert [page.first for page in pages] == [
        2 + sum(len(p.listed) for p in pages[:i]) for i in range(len(pages))
    ]
    for page in pages:
        assert len(page.listed) == 1 or sum(item.row["n_tuples"] for item in page.listed) <= 10
        assert page.after == str(page.first - 2)


def test_a_page_has_episodes_of_one_step_schema() -> None:
    schemas = ["a", "a", "b", "a", "a", "a"]
    listed = [Listed({"n_tuples": 1}, partial(str, i), schema) for i, schema in enumerate(schemas)]
    pages = list(cut_pages(listed, first=0, most_rows=100))
    assert [(page.schema, len(page.listed)) for page in pages] == [("a", 2), ("b", 1), ("a", 3)]


def test_wide_rows_make_small_pages() -> None:
    assert held_rows(1) > held_rows(1_000) > held_rows(100_000) >= held_rows(10**9) == 1


def test_a_page_larger_than_a_frame_comes_in_parts() -> None:
    text = "x" * (MAX_FRAME_BYTES + 9)
    frames = decode_frames(b"".join(FrameStream().page({"headers": [text]})))
    assert [frame.kind for frame in frames] == [Kind.PART, Kind.QUERY_HEADER]
    joiner = PartJoiner()
    payload = [joiner.payload(frame) for frame in frames][-1]
    assert payload is not None
    assert orjson.loads(payload) == {"type": "page", "headers": [text]}


def test_the_headers_of_a_page_are_read_at_once_and_bounded() -> None:
    third, huge = HEADER_PORTION_BYTES // 3, 9 * HEADER_PORTION_BYTES
    sizes = [third, third, third, 5, huge, 5, 5]
    rows = [{"n_tuples": 1, "header_bytes": size} for size in sizes]
    listed = [Listed(row, partial(str, i)) for i, row in enumerate(rows)]
    cut = [[item.row for item in page.listed] for page in cut_pages(listed, first=0, most_rows=100)]
    assert cut == [rows[:2], rows[2:4], rows[4:5], rows[5:]]
    assert [portion(rows[start:]) for start in (0, 2, 4, 5, 7)] == [2, 2, 1, 2, 0]
