"""What every reader of the columnar store promises: small answers at once, large ones in chunks that are whole."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chdb
import pyarrow as pa
import pytest

from support.clickhouse_process import any_clickhouse
from tupli_query.adapters.chdb_reader import ChdbReader
from tupli_query.adapters.clickhouse_reader import ClickHouseConnection, ClickHouseReader
from tupli_query.core.pages import MAX_PAGE_EPISODES
from tupli_query.core.reader import ReaderBusy, ReaderFailed, ReadSession, StoreReader, TooMuchToSort

SESSIONS = 2


@dataclass(frozen=True)
class Sql:
    """A statement."""

    text: str
    params: dict[str, str] = field(default_factory=dict)


@contextmanager
def chdb_reader(folder: Path) -> Iterator[StoreReader]:
    connect: Any = chdb.connect  # with types or without: see `tupli_query.adapters.chdb_reader`
    keeper = connect(str(folder / "store"))
    reader = ChdbReader(str(folder / "store"), max_sessions=SESSIONS)
    yield reader
    reader.close()
    keeper.close()


@contextmanager
def http_reader(folder: Path) -> Iterator[StoreReader]:
    with any_clickhouse(folder / "store") as connection:
        given = connection.model_dump()
        reader = ClickHouseReader(ClickHouseConnection(**given), max_sessions=SESSIONS)
        yield reader
        reader.close()


@pytest.fixture(scope="module", params=[chdb_reader, http_reader], ids=lambda made: made.__name__)
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreReader]:
    made: Callable[[Path], Iterator[StoreReader]] = request.param
    with made(tmp_path_factory.mktemp("reader")) as one:  # type: ignore[attr-defined]  # a context manager
        yield one


def numbers(count: int, more: str = "") -> Sql:
    return Sql(f"SELECT number AS n, toString(number) AS s FROM system.numbers LIMIT {count}{more}")


def test_parameters_may_be_as_long_as_a_page_of_ids(reader: StoreReader) -> None:
    """Over HTTP they travel in a form then."""
    ids = ",".join(f"{number:032x}" for number in range(MAX_PAGE_EPISODES))
    found = reader.select(Sql("SELECT length({p0:String}) AS n, {p1:Int64} AS one", {"p0": ids, "p1": "1"}))
    assert found == [{"n": len(ids), "one": 1}]


def test_small_answers_are_rows(reader: StoreReader) -> None:
    found = reader.select(Sql("SELECT 1 AS a, 'x' AS b, [1, 2] AS c, CAST(NULL AS Nullable(UInt8)) AS d"))
    assert found == [{"a": 1, "b": b"x", "c": [1, 2], "d": None}]
    assert reader.select(Sql("SELECT 1 AS a WHERE 0")) == []


@pytest.mark.parametrize("text", ["plain", "it's", "tab\\tescaped", "back\\\\slash", 'q"`{}', "ü\u2028", ""])
def test_parameters_reach_the_engine_as_they_are_written(reader: StoreReader, text: str) -> None:
    meant = text.replace("\\t", "\t").replace("\\\\", "\\")
    found = reader.select(
        Sql("SELECT {a:String} AS a, {b:UInt64} AS b", {"a": text, "b": "18446744073709551615"})
    )
    assert found == [{"a": meant.encode(), "b": 2**64 - 1}]


@pytest.mark.parametrize("count", [0, 1, 1_000, 250_000])
def test_a_stream_gives_all_rows_in_whole_chunks(reader: StoreReader, count: int) -> None:
    session = reader.session()
    stream = session.open(numbers(count), max_block_rows=10_000)
    rows: list[int] = []
    while (chunk := stream.fetch()) is not None:
        table = pa.ipc.open_stream(pa.py_buffer(chunk.data)).read_all()
        assert table.num_rows == chunk.rows > 0
        assert chunk.rows <= 70_000
        rows += table["n"].to_pylist()
    assert stream.fetch() is None
    session.close()
    assert rows == list(range(count))


def test_one_session_streams_one_statement_after_the_other(reader: StoreReader) -> None:
    session = reader.session()
    first = session.open(numbers(1_000_000), max_block_rows=1_000)
    assert first.fetch() is not None
    second = session.open(numbers(3), max_block_rows=1_000)
    chunk = second.fetch()
    assert chunk is not None
    assert chunk.rows == 3
    session.close()
    session.close()


def test_sessions_are_bounded_and_given_back(reader: StoreReader) -> None:
    taken = [reader.session() for _ in range(SESSIONS)]
    with pytest.raises(ReaderBusy) as caught:
        reader.session()
    assert caught.value.retry_after > 0
    taken[0].close()
    again = reader.session()
    for session in (*taken, again):
        session.close()


def test_what_the_engine_refuses_is_a_failure(reader: StoreReader) -> None:
    with pytest.raises(ReaderFailed):
        reader.select(Sql("SELECT no_such_column"))
    session = reader.session()
    with pytest.raises(ReaderFailed):
        session.open(Sql("SELECT no_such_column"), max_block_rows=10).fetch()
    session.close()


def read_all(session: ReadSession, statement: Sql) -> None:
    stream = session.open(statement, max_block_rows=1_000)
    while stream.fetch() is not None:
        pass


def test_what_fails_midway_is_no_end(reader: StoreReader) -> None:
    session = reader.session()
    bad = Sql("SELECT throwIf(number = 200000) AS t, number AS n FROM system.numbers LIMIT 300000")
    with pytest.raises(ReaderFailed):
        read_all(session, bad)
    session.close()


def test_too_much_to_sort_is_told_apart(reader: StoreReader) -> None:
    text = "SELECT number AS n FROM numbers(3000000) ORDER BY cityHash64(n) SETTINGS max_bytes_to_sort = 1000"
    with pytest.raises(TooMuchToSort):
        reader.select(Sql(text))
