"""Answers over HTTP: cut into whole chunks, and never taken for complete when they are not."""

import io
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from tupli_query.adapters.clickhouse_reader import ClickHouseStream
from tupli_query.core.reader import ReaderFailed


@dataclass(frozen=True)
class Sql:
    text: str = "SELECT n"
    params: dict[str, str] = field(default_factory=dict)


def body(*batches: list[int]) -> bytes:
    sink = pa.BufferOutputStream()
    schema = pa.schema([("n", pa.int64()), ("s", pa.binary())])
    with pa.ipc.new_stream(sink, schema) as stream:
        for batch in batches:
            stream.write_batch(pa.record_batch([batch, [b"x" * n for n in batch]], schema=schema))
    return bytes(sink.getvalue())


def read(data: bytes) -> list[list[int]]:
    stream = ClickHouseStream(io.BytesIO(data), Sql())
    found = []
    while (chunk := stream.fetch()) is not None:
        table = pa.ipc.open_stream(chunk.data).read_all()
        assert table.num_rows == chunk.rows
        found.append(table["n"].to_pylist())
    assert stream.fetch() is None
    stream.close()
    return found


def test_chunks_are_batches_with_their_schema() -> None:
    assert read(body([1, 2], [], [3])) == [[1, 2], [3]]
    assert read(body()) == []


WHOLE = body([1, 2], [3], [4, 5, 6])


@pytest.mark.parametrize("size", range(0, len(WHOLE), 8))
def test_a_body_cut_anywhere_is_no_end(size: int) -> None:
    with pytest.raises(ReaderFailed):
        read(WHOLE[:size])


def test_what_the_engine_says_in_the_middle_of_a_body_is_no_end() -> None:
    told = b"Code: 241. DB::Exception: Memory limit exceeded"
    without_end = WHOLE[:-8]
    for data in (without_end + told, WHOLE + told):
        with pytest.raises(ReaderFailed):
            read(data)
