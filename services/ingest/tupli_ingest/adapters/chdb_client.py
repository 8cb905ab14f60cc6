"""ClickHouse in process: one handle for statements and inserts, with errors in the store port's words."""

import tempfile
from pathlib import Path
from typing import Any, Final

import clickhouse_connect
import pyarrow as pa

from tupli_ingest.adapters.allocators import release_free_memory
from tupli_ingest.adapters.clickhouse_driver import READ_SETTINGS, DriverClient, write_stream
from tupli_ingest.adapters.clickhouse_errors import translated
from tupli_schemas.tables import FINAL_SETTINGS, INSERT_SETTINGS

RELEASE_BYTES: Final = 8 * 1024 * 1024
# A file that is mapped counts as ours.
_FILE_SETTINGS: Final[dict[str, Any]] = INSERT_SETTINGS | {"storage_file_read_method": "'pread'"}
_INSERT_CLAUSE: Final = ", ".join(f"{name} = {value}" for name, value in _FILE_SETTINGS.items())


class ChdbClient(DriverClient):
    """Statements and inserts on one chDB handle; calls from several threads take turns.

    Raises:
        StoreUnavailable: The engine cannot be opened at the path.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        with translated():
            self._handle = clickhouse_connect.get_client(interface="chdb", path=str(path))
        self._inserted = 0

    def table(self, sql: str) -> pa.Table:
        """A query's whole answer, read with the pinned settings of FINAL; text and bytes as binary."""
        with translated():
            return self._client.query_arrow(sql, settings=READ_SETTINGS | FINAL_SETTINGS, use_strings=False)

    def insert(self, database: str, table: str, rows: pa.Table) -> None:
        """Insert rows, synced to disk on return.

        Raises:
            RowsRefused: The rows themselves are at fault.
            StoreFull: No space.
            StoreUnavailable: Anything else; the same rows may be tried again.
        """
        self._inserted += rows.nbytes
        if self._inserted >= RELEASE_BYTES:  # merges and requests have freed what the insert is about to need
            self._inserted = 0
            self.release_memory()
        with translated(), tempfile.NamedTemporaryFile(prefix="tupli-insert-") as file:
            # The engine reads such a file batch by batch; clickhouse-connect would hold the rows twice more.
            write_stream(file.name, rows)
            columns = ", ".join(f"`{name}`" for name in rows.schema.names)
            path = file.name.replace("\\", "\\\\").replace("'", "\\'")
            self._client.command(
                f"INSERT INTO {database}.{table} ({columns}) FROM INFILE '{path}'"
                f" SETTINGS {_INSERT_CLAUSE} FORMAT ArrowStream"
            )

    def release_memory(self) -> None:
        """Give back what three allocators keep: the engine's, Arrow's, the C library's."""
        with translated():
            self._client.command("SYSTEM JEMALLOC PURGE")
        release_free_memory()

    def close(self) -> None:
        """Close the handle."""
        self._client.close()

    @property
    def _client(self) -> Any:
        return self._handle
