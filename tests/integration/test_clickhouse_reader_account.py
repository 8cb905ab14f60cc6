"""The reader's grants and limits, enforced by the engine: our queries work, and nothing else does."""

from collections.abc import Iterator

import pytest

from support.clickhouse_config import reader_config
from support.clickhouse_process import own_clickhouse
from support.query_calls import InProcessQuery
from support.store_fill import StoreFill, array_schema, random_rows
from tupli_ingest.adapters.clickhouse_client import ClickHouseClient
from tupli_ingest.adapters.reader_account import READER_GRANTS, ReaderAccount, ReaderSettings
from tupli_query.adapters.clickhouse_reader import ClickHouseConnection, ClickHouseReader
from tupli_query.core.generations import OwnStatement
from tupli_query.core.reader import ReaderFailed

SETTINGS = ReaderSettings(password="only for tests", max_rows_read=1_000)  # type: ignore[arg-type]  # as text
DENIED = "Code: 497"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseReader]:
    folder = tmp_path_factory.mktemp("reader")
    schema = array_schema("f4[2]", "i8[]")
    with StoreFill(folder / "store") as fill:
        fill.benchmark("bench")
        fill.episodes(schema, [random_rows(schema, 3, seed=i, ordinal=i + 1) for i in range(2)])
        with fill.generation() as following:  # one that is made after the account
            following.benchmark("bench")
            following.episodes(schema, [random_rows(schema, 4, seed=i, ordinal=i + 1) for i in range(3)])
        fill.command("CREATE DATABASE others")
        fill.command("CREATE TABLE others.t (x UInt8) ENGINE = MergeTree ORDER BY x")
    config = reader_config(folder, READER_GRANTS, SETTINGS.constraints())
    with own_clickhouse(folder / "store", config) as server:
        made = ClickHouseReader(ClickHouseConnection(**server.connection.model_dump()))
        yield made
        made.close()


def test_what_the_query_service_asks_is_allowed(reader: ClickHouseReader) -> None:
    query = InProcessQuery(reader)  # type: ignore[arg-type]  # it takes any reader
    assert query.ask("/query/v1/datasets/count", {}) == {"episodes": 3, "tuples": 12}
    assert len(query.ask("/query/v1/episodes/list", {})["episodes"]) == 3
    assert len(query.ask("/query/v1/benchmarks/list", {})["benchmarks"]) == 1
    condition = {"type": "GT", "key": "step", "value": 0}
    _, body = query.post(
        "/query/v1/datasets/query", b'{"tuple_filter": {"type": "GT", "key": "step", "value": 0}}'
    )
    assert body
    assert query.ask("/query/v1/datasets/count", {"tuple_filter": condition})["tuples"] == 9


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'x UInt8')",
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/x', 'CSV', 'x UInt8')",
        "SELECT * FROM remote('127.0.0.1:1', others.t)",
        "SELECT * FROM others.t",
        "SELECT * FROM tupli.probe",
        "SELECT * FROM system.users",
        "INSERT INTO tupli.serving SELECT * FROM tupli.serving",
        "ALTER TABLE tupli.serving DELETE WHERE 1",
        "DROP DATABASE tupli",
        "CREATE TABLE tupli_g1.x (k UInt8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE x (k UInt8)",
    ],
)
def test_anything_else_is_refused(reader: ClickHouseReader, sql: str) -> None:
    with pytest.raises(ReaderFailed, match=DENIED):
        reader.select(OwnStatement(sql))


def test_of_the_systems_tables_only_those_of_ours_are_shown(reader: ClickHouseReader) -> None:
    found = reader.select(OwnStatement("SELECT DISTINCT database AS d FROM system.tables"))
    assert {row["d"] for row in found} <= {b"tupli", b"tupli_g1", b"tupli_g2"}


def test_the_limits_hold_and_cannot_be_changed(reader: ClickHouseReader) -> None:
    with pytest.raises(ReaderFailed, match="Code: 158"):
        reader.select(OwnStatement("SELECT count() FROM numbers(1001)"))
    for name in SETTINGS.constraints():
        with pytest.raises(ReaderFailed, match="Code: 452"):
            reader.select(OwnStatement(f"SELECT 1 SETTINGS {name} = 7"))
    with pytest.raises(ReaderFailed, match=r"Code: (452|164)"):
        reader.select(OwnStatement("SELECT 1 SETTINGS readonly = 0"))


def test_the_engine_reads_the_statements_that_make_the_account(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with own_clickhouse(tmp_path_factory.mktemp("parser")) as server:
        client = ClickHouseClient(server.connection)
        for sql in ReaderAccount.of("rd", SETTINGS.password).statements(SETTINGS.constraints()):
            assert client.column(f"EXPLAIN AST {sql}")
        client.close()
