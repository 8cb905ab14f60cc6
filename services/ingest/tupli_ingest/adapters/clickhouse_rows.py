"""Rows of the small tables, from dictionaries to Arrow and back, by their columns' ClickHouse types."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa

from tupli_ingest.core.errors import RowsRefused
from tupli_ingest.core.ports import Row

Columns = Mapping[str, str]
"""Column name to ClickHouse type, in the table's order."""

_SIMPLE: Final[dict[str, pa.DataType]] = {
    "String": pa.string(),
    "UInt8": pa.uint8(),
    "UInt32": pa.uint32(),
    "UInt64": pa.uint64(),
    "Int64": pa.int64(),
    "Float64": pa.float64(),
}
_NESTED: Final = re.compile(r"(?P<outer>\w+)\((?P<inner>.*)\)")


def arrow_type(kind: str) -> pa.DataType:
    """The Arrow type of a ClickHouse type, as far as our tables use them.

    Raises:
        ValueError: They do not use it.
    """
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    match = _NESTED.fullmatch(kind)
    outer, inner = (match["outer"], match["inner"]) if match else ("", "")
    if outer == "FixedString":
        return pa.binary(int(inner))
    if outer in ("LowCardinality", "Nullable"):
        return arrow_type(inner)
    if outer == "Array":
        return pa.list_(arrow_type(inner))
    if outer == "Tuple":
        return pa.struct([(str(i + 1), arrow_type(part)) for i, part in enumerate(inner.split(", "))])
    if outer == "Map":
        key, _, value = inner.partition(", ")
        return pa.map_(arrow_type(key), arrow_type(value))
    raise ValueError(f"no Arrow type for {kind}")


_known_type: Final = lru_cache(maxsize=256)(arrow_type)


def rows_to_arrow(rows: Sequence[Row], columns: Columns) -> pa.Table:
    """The rows as an Arrow table with exactly these columns.

    Raises:
        RowsRefused: A row lacks a column or has a value that its column cannot hold.
    """
    try:
        arrays = {
            name: pa.array(_outward([row[name] for row in rows], kind), _known_type(kind))
            for name, kind in columns.items()
        }
    except (pa.ArrowException, AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise RowsRefused(f"a row does not fit its table ({type(error).__name__}: {error})") from error
    return pa.table(arrays)


def rows_of_arrow(table: pa.Table, columns: Columns) -> list[Row]:
    """The rows of an answer: ids as bytes, text as `str`, maps as dictionaries, tuples as tuples."""
    values = {name: [_inward(v, kind) for v in table[name].to_pylist()] for name, kind in columns.items()}
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _outward(values: list[Any], kind: str) -> list[Any]:
    """Maps as pairs, lists of pairs as structs."""
    if kind.startswith("Map"):
        return [list(value.items()) for value in values]
    if kind.startswith("Array(Tuple"):
        return [[{"1": first, "2": second} for first, second in value] for value in values]
    return values


def _inward(value: Any, kind: str) -> Any:
    if value is None or kind.startswith("FixedString"):
        return value
    if kind.startswith("Map"):
        return {_text(key): _text(item) for key, item in value}
    if kind.startswith("Array(Tuple"):
        return [tuple(item.values()) for item in value]
    if kind.startswith("Array"):
        return [_text(item) for item in value]
    return _text(value)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
