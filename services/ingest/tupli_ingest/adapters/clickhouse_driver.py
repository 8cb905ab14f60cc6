"""What the two transports of ClickHouse have in common: clickhouse-connect's statements, and rows in batches."""

import abc
from typing import Any, Final

import pyarrow as pa

from tupli_ingest.adapters.clickhouse_errors import translated

READ_SETTINGS: Final[dict[str, Any]] = {
    "output_format_arrow_string_as_string": 0,  # text columns hold bytes that need not be UTF-8
    "output_format_arrow_fixed_string_as_fixed_byte_array": 1,
}
_BATCH_BYTES: Final = 4 * 1024 * 1024


class DriverClient(abc.ABC):
    """Statements through a client of clickhouse-connect, with errors in the store port's words."""

    @property
    @abc.abstractmethod
    def _client(self) -> Any:
        """The driver."""

    def command(self, sql: str, settings: dict[str, Any] | None = None) -> None:
        """Run a statement that answers nothing.

        Raises:
            StoreUnavailable: It failed.
        """
        with translated():
            self._client.command(sql, settings=settings)

    def column(self, sql: str) -> list[str]:
        """The first column of a query's answer, as text."""
        with translated():
            return [str(row[0]) for row in self._client.query(sql).result_rows]


def write_stream(sink: Any, rows: pa.Table) -> None:
    """Write rows as an Arrow stream, in batches of a size that the engine takes one by one."""
    batch_rows = max(_BATCH_BYTES * rows.num_rows // max(rows.nbytes, 1), 1)
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows, max_chunksize=batch_rows)
