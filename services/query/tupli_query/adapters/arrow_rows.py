"""What both transports of the columnar store have in common: settings, errors, and rows out of Arrow."""

from typing import Any, Final

import pyarrow as pa

from tupli_query.core.reader import ReaderFailed, Statement, TooMuchToSort
from tupli_schemas.arrow_numbers import flat_numbers

READ_SETTINGS: Final[dict[str, int | str]] = {
    "max_threads": 1,
    "output_format_arrow_compression_method": "none",
    "output_format_arrow_string_as_string": 0,
}

LIMIT_EXCEEDED: Final = "Code: 396."
"""TOO_MANY_ROWS_OR_BYTES: our statements set no limit of this kind but the one on sorting."""


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table as dicts; a third of the time that Arrow takes for thousands of ids."""
    names = table.schema.names
    columns = [_values(column) for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: pa.ChunkedArray) -> list[Any]:
    if column.null_count or not (pa.types.is_fixed_size_binary(column.type) or _is_number(column.type)):
        values: list[Any] = column.to_pylist()
        return values
    return [value for chunk in column.chunks for value in _plain_values(chunk)]


def _plain_values(chunk: pa.Array) -> list[Any]:
    """Numbers, or bytes of one width, without nulls: as they lie in memory."""
    if _is_number(chunk.type):
        numbers: list[Any] = flat_numbers(chunk, chunk.type.to_pandas_dtype()).tolist()
        return numbers
    width = chunk.type.byte_width
    raw = flat_numbers(chunk, f"V{width}").tobytes()
    return [raw[i : i + width] for i in range(0, len(raw), width)]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def count_rows(data: bytes) -> int:
    """How many rows an Arrow stream has; only its headers are read."""
    return sum(batch.num_rows for batch in pa.ipc.open_stream(pa.py_buffer(data)))


def with_settings(sql: str, **more: int | str) -> str:
    """The statement with our settings; where it has one of them already, ours counts."""
    head, clause, own = sql.rpartition("SETTINGS ")
    settings = dict(item.split(" = ", 1) for item in own.split(", ")) if clause else {}
    for name, value in (READ_SETTINGS | more).items():
        settings[name] = str(value) if isinstance(value, int) else repr(value)
    text = ", ".join(f"{name} = {value}" for name, value in settings.items())
    return f"{head}SETTINGS {text}" if clause else f"{sql}\nSETTINGS {text}"


def failed(statement: Statement, error: Exception) -> ReaderFailed:
    """The port's error for what the engine said; its words stay on the server."""
    is_sorting = "max_bytes_to_sort" in statement.text and LIMIT_EXCEEDED in str(error)
    kind = TooMuchToSort if is_sorting else ReaderFailed
    return kind(f"{error} [statement: {statement.text}]")
