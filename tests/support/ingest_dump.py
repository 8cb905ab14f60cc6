"""Everything that a generation shows, as bytes, for comparing generations row by row."""

from tupli_ingest.adapters.chdb_client import ChdbClient
from tupli_ingest.adapters.clickhouse_client import ClickHouseClient
from tupli_schemas.tables import FINAL_SETTINGS

_TABLES = {
    "episodes": "benchmark, owner, episode",
    "streams": "stream",
    "benchmarks": "id",
    "publications": "kind, id, scope, subject",
    "deletions": "kind, id, subject",
    "step_tables": "name",
}


def dump(client: ChdbClient | ClickHouseClient, database: str) -> dict[str, list[bytes]]:
    """Table name to its rows (a line of escaped text each, floats shortest-exact) in key order, as FINAL shows them."""
    steps = client.column(f"SELECT DISTINCT name FROM {database}.step_tables ORDER BY name")
    tables = _TABLES | dict.fromkeys(steps, "benchmark, owner, episode, step")
    return {name: _rows(client, database, name, order) for name, order in tables.items()}


def _rows(client: ChdbClient | ClickHouseClient, database: str, table: str, order: str) -> list[bytes]:
    sql = f"SELECT * FROM {database}.{table} FINAL ORDER BY {order}"
    raw: bytes = client._client.raw_query(sql, fmt="TSV", settings=FINAL_SETTINGS)
    return [line for line in raw.split(b"\n") if line]
