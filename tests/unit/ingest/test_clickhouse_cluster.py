"""Statements and settings of a cluster of replicas, and what does not fit to what."""

from collections.abc import Sequence

import pytest
from pydantic import SecretStr, ValidationError

from support.ingest_streams import LAYOUT
from tupli_ingest.adapters.clickhouse_client import ClickHouseConnection
from tupli_ingest.adapters.clickhouse_cluster import on_cluster, require_fit
from tupli_ingest.adapters.migrations import migrate, migrations
from tupli_ingest.adapters.reader_account import ReaderAccount, ReaderSettings
from tupli_ingest.core.errors import Bug, UnfitStore
from tupli_schemas.tables import step_table_ddl


class Store:
    """Keeps what it is told, as a cluster is told it; answers one list after the other."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.told: list[str] = []
        self._answers = list(answers)

    def command(self, sql: str) -> None:
        self.told.append(on_cluster(sql, "ours"))

    def column(self, sql: str) -> list[str]:
        return list(self._answers.pop(0)) if self._answers else []


def test_every_migration_and_step_table_goes_to_all_hosts_and_is_replicated() -> None:
    store = Store()
    for scope, database in (("control", "tupli"), ("generation", "tupli_g7")):
        migrate(store, database, scope)
    store.command(step_table_ddl("tupli_g7", LAYOUT))
    tables = [sql for sql in store.told if sql.startswith("CREATE TABLE")]
    made = [m for m in migrations() if m.sql.startswith("CREATE TABLE")]
    assert len(tables) == len(made) + 3  # the ledgers, and the step table
    for sql in tables:
        name = sql.split()[5]
        assert sql.startswith(f"CREATE TABLE IF NOT EXISTS {name} ON CLUSTER `ours`")
        path = f"'/clickhouse/tables/{{shard}}/{name.replace('.', '/')}', '{{replica}}'"
        assert sql.count(f"ENGINE = ReplicatedReplacingMergeTree({path}") == 1
    assert "'{replica}', v)\nORDER BY (benchmark" in tables[-1]
    assert "CREATE DATABASE IF NOT EXISTS tupli_g7 ON CLUSTER `ours`" in store.told
    rest = [sql for sql in store.told if not sql.startswith("CREATE")]
    assert rest
    assert all(sql.startswith(("INSERT INTO", "ALTER TABLE")) and "ON CLUSTER" not in sql for sql in rest)


def test_a_generation_is_dropped_on_all_hosts() -> None:
    dropped = on_cluster("DROP DATABASE IF EXISTS tupli_g1 SYNC", "a.b")
    assert dropped == "DROP DATABASE IF EXISTS tupli_g1 ON CLUSTER `a.b` SYNC"


@pytest.mark.parametrize(
    "sql",
    ["DROP TABLE tupli.x", "CREATE TABLE IF NOT EXISTS a.b (k UInt8)\nENGINE = MergeTree", "SYSTEM FLUSH"],
)
def test_a_statement_that_nobody_thought_of_is_refused(sql: str) -> None:
    with pytest.raises(Bug):
        on_cluster(sql, "ours")


def test_the_settings_of_replicas_stand_in_every_statement_and_without_a_cluster_none_do() -> None:
    alone = ClickHouseConnection(host="h")
    assert alone.options()["settings"] == {}
    settings = ClickHouseConnection(host="h", cluster="ours", answer_timeout_s=60).options()["settings"]
    assert settings["insert_quorum"] == "auto"
    assert settings["insert_quorum_parallel"] == 0  # else the next one has no meaning
    assert settings["select_sequential_consistency"] == 1
    assert settings["insert_quorum_timeout"] == 30_000  # before the client's own
    assert settings["distributed_ddl_task_timeout"] == 30


@pytest.mark.parametrize("name", ["a`b", "a'b", "a b", "x" * 65])
def test_a_cluster_name_that_needs_quoting_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        ClickHouseConnection(host="h", cluster=name)


@pytest.mark.parametrize(
    ("cluster", "answers", "why"),
    [
        ("ours", [[]], "must have one shard, and has 0"),
        ("ours", [["1", "2"]], "must have one shard, and has 2"),
        (
            "ours",
            [["1"], ["tupli.serving"]],
            "tupli.serving is not replicated, and TUPLI_CLICKHOUSE_CLUSTER is ours",
        ),
        ("", [["tupli.serving"]], "tupli.serving is replicated, and TUPLI_CLICKHOUSE_CLUSTER is not set"),
    ],
)
def test_what_does_not_fit_is_refused(cluster: str, answers: list[list[str]], why: str) -> None:
    with pytest.raises(UnfitStore, match=why):
        require_fit(Store(*answers), cluster)


@pytest.mark.parametrize(("cluster", "answers"), [("ours", [["1"], []]), ("", [[]])])
def test_what_fits_is_not_refused(cluster: str, answers: list[list[str]]) -> None:
    require_fit(Store(*answers), cluster)


def test_no_statement_holds_the_readers_password_and_each_run_has_another_salt() -> None:
    password, limits = SecretStr("correct horse battery"), {"max_execution_time": 60}
    first, second = (ReaderAccount.of("rd", password).statements(limits) for _ in range(2))
    assert not [sql for sql in first if "horse" in sql]
    assert first != second
    assert first[1].endswith("SETTINGS readonly = 2, max_execution_time = 60 READONLY")
    assert first[-1] == ("GRANT SELECT ON tupli.serving, SELECT ON tupli_g*.* TO `rd` WITH REPLACE OPTION")
    on_hosts = [on_cluster(sql, "ours") for sql in first]
    assert [sql[: sql.index("`ours`")] for sql in on_hosts] == [
        "CREATE SETTINGS PROFILE IF NOT EXISTS `rd_limits` ON CLUSTER ",
        "ALTER SETTINGS PROFILE `rd_limits` ON CLUSTER ",
        "CREATE USER IF NOT EXISTS `rd` ON CLUSTER ",
        "ALTER USER `rd` ON CLUSTER ",
        "GRANT ON CLUSTER ",
    ]


def test_a_short_password_of_the_reader_is_refused() -> None:
    with pytest.raises(ValidationError):
        ReaderSettings(password=SecretStr("short"))
