"""`python -m tupli_ingest migrate` over HTTP: twice, by two at once, and killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.clickhouse_config import host_config
from support.clickhouse_process import ClickHouse, own_clickhouse
from support.ingest_service import eventually
from support.ingest_streams import LAYOUT
from support.server_process import free_port
from tupli_ingest.adapters.clickhouse_client import ClickHouseClient
from tupli_ingest.adapters.clickhouse_cluster import on_cluster
from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.migrations import migrate, migrations
from tupli_schemas.tables import step_table_ddl

ALL = sorted(f"{'tupli' if one.scope == 'control' else 'tupli_g1'}.{one.name}" for one in migrations())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickHouse]:
    with own_clickhouse(tmp_path / "store") as made:
        yield made


def migrating(server: ClickHouse, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tupli_ingest", "migrate", *options],
        env=dict(os.environ) | server.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ran(process: "subprocess.Popen[str]") -> list[str]:
    out, said = process.communicate(timeout=100)
    assert process.returncode == 0, said
    names: list[str] = json.loads(out)["ran"]
    return names


def assert_whole(server: ClickHouse) -> None:
    """Everything was applied, is remembered, and serves."""
    with closing(ClickHouseClient(server.connection)) as client:
        assert Generations(client).migrate() == []
        kept = [f"{database}.{name}" for database in ("tupli", "tupli_g1")
                for name in client.column(f"SELECT DISTINCT name FROM {database}.migrations")]  # fmt: skip
        assert sorted(kept) == ALL
        generations = Generations(client)
        assert generations.serving() == 1
        generations.open(1).probe()


def test_what_ran_does_not_run_again(server: ClickHouse) -> None:
    assert sorted(ran(migrating(server))) == ALL
    assert ran(migrating(server)) == []
    assert_whole(server)


def test_it_waits_for_a_store_that_is_still_starting(tmp_path: Path) -> None:
    server = ClickHouse(tmp_path / "store", free_port())
    with migrating(server) as waiting:
        assert waiting.stderr is not None
        told = next(line for line in map(json.loads, waiting.stderr) if line["event"] == "waiting")
        assert "does not answer" in told["reason"]
        try:
            server.start()
            assert sorted(ran(waiting)) == ALL
            assert_whole(server)
        finally:
            server.kill()


def test_it_gives_up_when_it_has_waited_for_long_enough() -> None:
    begun = time.monotonic()
    process = migrating(ClickHouse(Path(), free_port()), "--wait-s", "0")
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert "the store does not answer" in said
    assert "waiting" not in said
    assert time.monotonic() - begun < 50


def test_two_at_once_do_no_harm(server: ClickHouse) -> None:
    both = [migrating(server), migrating(server)]
    assert set(ran(both[0])) | set(ran(both[1])) == set(ALL)
    assert_whole(server)


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("hold", "CREATE TABLE IF NOT EXISTS tupli_g1.publications"),
        ("late_hold", "ADD COLUMN IF NOT EXISTS filling"),
    ],
    ids=["before it ran", "when it had run"],
)
def test_one_that_was_killed_in_a_statement_is_finished_by_the_next(
    server: ClickHouse, kind: str, match: str
) -> None:
    server.fault(kind=kind, match=match, times=1)
    killed = migrating(server)
    eventually(lambda: server.seen()["held"] > 0, 60)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    with closing(ClickHouseClient(server.connection)) as client:
        rest = Generations(client).migrate()
    assert rest
    assert set(rest) < set(ALL)
    server.fault()  # what was killed runs now, at last
    assert_whole(server)


def test_each_host_of_a_cluster_makes_the_replicated_tables(tmp_path: Path) -> None:
    """The engine makes them, with its own stand-in for Keeper; it has no queue of statements for a cluster."""
    with (
        own_clickhouse(tmp_path / "host", host_config(tmp_path)) as host,
        closing(ClickHouseClient(host.connection)) as client,
    ):
        host_of_a_cluster = _Host(client)
        for scope, database in (("control", "tupli"), ("generation", "tupli_g1")):
            migrate(host_of_a_cluster, database, scope)
        host_of_a_cluster.command(step_table_ddl("tupli_g1", LAYOUT))
        found = client.column(
            "SELECT engine || ' ' || create_table_query FROM system.tables WHERE startsWith(database, 'tupli')"
        )
        assert len(found) == host_of_a_cluster.tables
        assert all(line.startswith("ReplicatedReplacingMergeTree ") for line in found)
        assert client.column(
            "SELECT DISTINCT toString(shard_num) FROM system.clusters WHERE cluster = 'ours'"
        ) == ["1"]


class _Host:
    """Runs what a host of the cluster `ours` runs of a statement; rows and changes need a Keeper, and are left out."""

    def __init__(self, client: ClickHouseClient) -> None:
        self._client = client
        self.tables = 0

    def command(self, sql: str) -> None:
        told = on_cluster(sql, "ours")
        assert self._client.column(f"EXPLAIN AST {told}")  # the engine can read it as it is sent
        if told != sql:
            self.tables += told.startswith("CREATE TABLE")
            self._client.command(told.replace(" ON CLUSTER `ours`", ""))

    def column(self, _: str) -> list[str]:
        return []
