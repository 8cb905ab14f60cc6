"""Generations: which database serves, making the next one and dropping old ones."""

import re
import time
from typing import Final

import pyarrow as pa

from tupli_ingest.adapters.chdb_client import ChdbClient
from tupli_ingest.adapters.chdb_store import ChdbStore
from tupli_ingest.adapters.migrations import migrate
from tupli_schemas.tables import CONTROL_DATABASE, generation_database

_NAME: Final = re.compile(r"tupli_g(\d+)")


class Generations:
    """The control row and the databases of one store.

    Opening it migrates the control database and the serving generation, which is 1 in a new store.
    """

    def __init__(self, client: ChdbClient, *, max_step_tables: int = 500) -> None:
        self._client = client
        self._max_step_tables = max_step_tables
        migrate(client, CONTROL_DATABASE, "control")
        if self._serving_row() is None:
            self._write_serving(1, version=1)
        migrate(client, generation_database(self.serving()), "generation")

    def serving(self) -> int:
        """The generation that queries read."""
        return (self._serving_row() or (1, 0))[0]

    def open(self, generation: int, *, client: ChdbClient | None = None) -> ChdbStore:
        """The store of a generation, migrated; on a handle of its own if one is given."""
        migrate(client or self._client, generation_database(generation), "generation")
        return ChdbStore(client or self._client, generation, max_step_tables=self._max_step_tables)

    def switch(self, generation: int) -> None:
        """Let this generation serve from now on."""
        _, version = self._serving_row() or (1, 0)
        self._write_serving(generation, version=version + 1)

    def drop(self, generation: int) -> None:
        """Remove a generation that does not serve.

        Raises:
            ValueError: It serves.
        """
        if generation == self.serving():
            raise ValueError(f"generation {generation} serves and is not dropped")
        self._client.command(f"DROP DATABASE IF EXISTS {generation_database(generation)} SYNC")

    def others(self) -> list[int]:
        """The generations that exist and do not serve."""
        names = self._client.column("SELECT name FROM system.databases")
        found = [int(match[1]) for name in names if (match := _NAME.fullmatch(name))]
        return sorted(set(found) - {self.serving()})

    def _serving_row(self) -> tuple[int, int] | None:
        sql = f"SELECT generation, version FROM {CONTROL_DATABASE}.serving FINAL WHERE k = 0"  # noqa: S608 -- our names
        rows = self._client.table(sql).to_pylist()
        return (rows[0]["generation"], rows[0]["version"]) if rows else None

    def _write_serving(self, generation: int, *, version: int) -> None:
        row = pa.table(
            {
                "k": pa.array([0], pa.uint8()),
                "generation": pa.array([generation], pa.uint32()),
                "switched_at": pa.array([time.time_ns() // 1_000_000], pa.timestamp("ms", "UTC")),
                "version": pa.array([version], pa.uint64()),
            }
        )
        self._client.insert(CONTROL_DATABASE, "serving", row)
