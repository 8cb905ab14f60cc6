"""Generations: which database serves, making the next one and dropping old ones."""

import re
import time
from typing import Final

import pyarrow as pa

from tupli_ingest.adapters.clickhouse_store import ClickHouseStore, StoreClient
from tupli_ingest.adapters.migrations import migrate
from tupli_ingest.core.errors import StoreUnavailable
from tupli_ingest.core.plan import Plan
from tupli_schemas.tables import CONTROL_DATABASE, GENERATION_PREFIX, generation_database

_NAME: Final = re.compile(GENERATION_PREFIX + r"(\d+)")


class Generations:
    """The control row and the databases of one store.

    Nothing in it works before `migrate`, which a deployment runs as a command.
    """

    def __init__(self, client: StoreClient, *, max_step_tables: int = 500) -> None:
        self._client = client
        self._max_step_tables = max_step_tables

    def migrate(self) -> list[str]:
        """Bring the control database and the serving generation, which is 1 in a new store, to this version.

        Returns:
            The migrations that ran, each as `database.name`.

        Raises:
            StoreUnavailable: The store does not answer; what ran has run, and the rest runs next time.
        """
        ran = [f"{CONTROL_DATABASE}.{name}" for name in migrate(self._client, CONTROL_DATABASE, "control")]
        if self._row() is None:
            self._write(Plan(1), version=1)
        return ran + self.make(self.serving())

    def make(self, generation: int) -> list[str]:
        """Bring the database of a generation to this version; made if it is not there."""
        database = generation_database(generation)
        return [f"{database}.{name}" for name in migrate(self._client, database, "generation")]

    def serving(self) -> int:
        """The generation that queries read.

        Raises:
            StoreUnavailable: The store does not answer, or is not migrated.
        """
        return self.plan().serving

    def plan(self) -> Plan:
        """Which generation serves, and which is being filled.

        Raises:
            StoreUnavailable: The store does not answer, or is not migrated.
        """
        row = self._row()
        if row is None:
            raise StoreUnavailable(
                "no generation serves yet: the store is not migrated, `tupli admin migrate` does it"
            )
        return row[0]

    def open(self, generation: int, *, client: StoreClient | None = None) -> ClickHouseStore:
        """The store of a generation that was made; on a handle of its own if one is given."""
        return ClickHouseStore(client or self._client, generation, max_step_tables=self._max_step_tables)

    def switch(self, generation: int) -> None:
        """Let this generation serve from now on; none is being filled then."""
        self._change(Plan(generation))

    def fill(self, generation: int, note: str = "") -> None:
        """Have a generation filled that was made, to serve next; 0 to have none filled, with the reason."""
        self._change(Plan(self.serving(), generation, note))

    def has_begun(self, generation: int) -> bool:
        """Whether anything of the log may have been written into a generation."""
        return bool(self._client.column(f"SELECT k FROM {generation_database(generation)}.begun LIMIT 1"))  # noqa: S608 -- our names

    def begin(self, generation: int) -> None:
        """Mark a generation, before anything of the log is written into it."""
        self._client.insert(
            generation_database(generation), "begun", pa.table({"k": pa.array([0], pa.uint8())})
        )

    def positions(self, generation: int) -> dict[int, int]:
        """The highest offset that streams of a generation have, by partition."""
        sql = f"SELECT partition, max(offset) AS last FROM {generation_database(generation)}.streams GROUP BY partition"  # noqa: S608 -- our names
        return {row["partition"]: row["last"] for row in self._client.table(sql).to_pylist()}

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

    def _change(self, plan: Plan) -> None:
        _, version = self._row() or (None, 0)
        self._write(plan, version=version + 1)

    def _row(self) -> tuple[Plan, int] | None:
        """The control row and its version."""
        sql = f"SELECT * FROM {CONTROL_DATABASE}.serving FINAL WHERE k = 0"  # noqa: S608 -- our names
        rows = self._client.table(sql).to_pylist()
        if not rows:
            return None
        row = rows[0]
        since_ms = int(row["switched_at"].timestamp() * 1_000)
        plan = Plan(row["generation"], row.get("filling", 0), _text(row.get("note", "")), since_ms)
        return plan, row["version"]

    def _write(self, plan: Plan, *, version: int) -> None:
        row = pa.table(
            {
                "k": pa.array([0], pa.uint8()),
                "generation": pa.array([plan.serving], pa.uint32()),
                "switched_at": pa.array([time.time_ns() // 1_000_000], pa.timestamp("ms", "UTC")),
                "version": pa.array([version], pa.uint64()),
                "filling": pa.array([plan.filling], pa.uint32()),
                "note": pa.array([plan.note], pa.string()),
            }
        )
        self._client.insert(CONTROL_DATABASE, "serving", row)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
