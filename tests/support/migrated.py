"""Databases brought up to date as `tupli_ingest migrate` does it, through any driver."""

from typing import Any

from tupli_ingest.adapters.migrations import migrate


class _Statements:
    def __init__(self, client: Any) -> None:
        self._client = client

    def command(self, sql: str) -> None:
        self._client.command(sql)

    def column(self, sql: str) -> list[str]:
        return [str(row[0]) for row in self._client.query(sql).result_rows]


def migrated(client: Any, database: str, scope: str) -> None:
    """Make a database's tables through a client of clickhouse-connect."""
    migrate(_Statements(client), database, scope)
