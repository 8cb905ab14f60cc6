"""ClickHouse as one shard of replicas: what our statements become there, and the settings that keep promises.

See decision 0014. Tables are `ReplicatedReplacingMergeTree` at paths that follow from their names, so that a statement
may be repeated on any host. `ALTER TABLE`, inserts and queries stay as they are: replicated tables pass them on.
"""

import re
from typing import Any, Final, Protocol

from tupli_ingest.core.errors import Bug, UnfitStore
from tupli_schemas.tables import CONTROL_DATABASE, GENERATION_PREFIX

_NAME: Final = r"(?:`[^`]+`|\w+)"
_HEAD: Final = re.compile(
    "|".join(
        (
            rf"CREATE DATABASE IF NOT EXISTS {_NAME}",
            rf"DROP DATABASE IF EXISTS {_NAME}",
            r"CREATE TABLE IF NOT EXISTS (?P<database>\w+)\.(?P<table>\w+)",
            rf"(?:CREATE|ALTER) (?:USER|SETTINGS PROFILE) (?:IF NOT EXISTS )?{_NAME}",
            r"GRANT",
        )
    )
)
_PASSED_ON: Final = re.compile("INSERT INTO |SELECT |ALTER TABLE ")
_ENGINE: Final = re.compile(r"\bENGINE = ReplacingMergeTree(?:\((\w+)\))?")


class Columns(Protocol):
    """Asks the store."""

    def column(self, sql: str) -> list[str]:
        """The first column of the answer."""
        ...


def on_cluster(sql: str, cluster: str) -> str:
    """One of our statements, as it is sent to a cluster of this name.

    Raises:
        Bug: It is of a kind that nobody has thought about here.
    """
    if _PASSED_ON.match(sql):
        return sql
    head = _HEAD.match(sql)
    if head is None:
        raise Bug(f"a statement of a kind that is not known on a cluster: {sql[:40]}")
    rest = sql[head.end() :]
    if head["table"]:
        rest = _with_replicas(rest, f"{head['database']}/{head['table']}")
    return f"{head[0]} ON CLUSTER `{cluster}`{rest}"


def _with_replicas(rest: str, name: str) -> str:
    """The table's engine with the path and the name of the replica; `{shard}` and `{replica}` are the host's macros."""

    def engine(found: re.Match[str]) -> str:
        version = f", {found[1]}" if found[1] else ""
        place = f"'/clickhouse/tables/{{shard}}/{name}', '{{replica}}'"
        return f"ENGINE = ReplicatedReplacingMergeTree({place}{version})"

    replaced, count = _ENGINE.subn(engine, rest)
    if count != 1:
        raise Bug(f"the engine of {name} cannot be replicated")
    return replaced


def cluster_settings(answer_timeout_s: int) -> dict[str, Any]:
    """Settings of every statement: an insert is done when most replicas have it, and a query sees all done ones.

    A replica that lacks some refuses the query, which is asked again. That holds only while inserts into one table
    take turns (`insert_quorum_parallel = 0`). The waits end before the client's own.
    """
    patience_s = max(answer_timeout_s // 2, 1)
    return {
        "insert_quorum": "auto",
        "insert_quorum_parallel": 0,
        "insert_quorum_timeout": 1_000 * patience_s,
        "select_sequential_consistency": 1,
        "distributed_ddl_output_mode": "throw_only_active",  # a host that is away gets it when it comes
        "distributed_ddl_task_timeout": patience_s,
        "ignore_on_cluster_for_replicated_access_entities_queries": 1,
    }


def require_fit(store: Columns, cluster: str) -> None:
    """See that the store is what the setting says.

    Args:
        store: A connection to it.
        cluster: The cluster's name; empty for a server of its own.

    Raises:
        UnfitStore: There is no such cluster, it has several shards, or there are tables of the other kind.
        StoreUnavailable: The store does not answer.
    """
    if cluster:
        sql = f"SELECT DISTINCT toString(shard_num) FROM system.clusters WHERE cluster = '{cluster}'"  # noqa: S608 -- the setting's pattern
        shards = store.column(sql)
        if len(shards) != 1:
            raise UnfitStore(f"the cluster {cluster} must have one shard, and has {len(shards)}")
    other = "NOT LIKE" if cluster else "LIKE"
    found = store.column(
        "SELECT database || '.' || name FROM system.tables"  # noqa: S608 -- our names
        f" WHERE (database = '{CONTROL_DATABASE}' OR startsWith(database, '{GENERATION_PREFIX}'))"
        f" AND engine {other} 'Replicated%' ORDER BY 1 LIMIT 1"
    )
    if found:
        kind = "is not replicated" if cluster else "is replicated"
        setting = f"is {cluster}" if cluster else "is not set"
        raise UnfitStore(f"{found[0]} {kind}, and TUPLI_CLICKHOUSE_CLUSTER {setting}")
