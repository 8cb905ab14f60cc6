"""The index of many rows: `index_row`'s definition as four Arrow columns, quickly.

Rows without members cost nothing, equal rows are indexed once, and rows that have the same keys and plain values
are indexed key by key. All other rows go through the definition one by one. The outcome never depends on which
way a row took or which rows stood beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from tupli_schemas.index_columns import Parts, add_group, add_row
from tupli_schemas.index_row import RowIndex, index_tagged
from tupli_schemas.paths import escape_key, join_path, split_path
from tupli_schemas.values import to_tagged

__all__ = [
    "IndexColumns",
    "RowIndex",
    "escape_key",
    "index_one",
    "index_rows",
    "index_tagged",
    "join_path",
    "split_path",
]

_EMPTY: Final = int.from_bytes(b"{}", "little")
_BLOCK: Final = 256
"""Rows that are Python objects at one time: more of them wake the garbage collector."""


@dataclass(frozen=True, slots=True)
class IndexColumns:
    """The index of n rows: maps of path to value, and a list of paths."""

    num: pa.MapArray
    int_: pa.MapArray
    str_: pa.MapArray
    other: pa.ListArray

    def named(self, prefix: str) -> dict[str, pa.Array]:
        """The columns by their names in ClickHouse: `info_num` and so on for the prefix `info`."""
        return {
            f"{prefix}_num": self.num,
            f"{prefix}_int": self.int_,
            f"{prefix}_str": self.str_,
            f"{prefix}_other": self.other,
        }

    def take(self, rows: pa.Array) -> "IndexColumns":
        """These rows of it."""
        return IndexColumns(*(column.take(rows) for column in (self.num, self.int_, self.str_, self.other)))


def index_one(value: Any) -> RowIndex:
    """The index of a value, as `index_rows` makes it of the value's canonical bytes."""
    return index_tagged(to_tagged(value))


def index_rows(infos: pa.Array | pa.ChunkedArray) -> IndexColumns:
    """The index of rows of canonical bytes (binary). Bytes that are no JSON have no paths."""
    if isinstance(infos, pa.ChunkedArray):
        infos = infos.combine_chunks()
    if are_empty(infos):
        return _columns(Parts(), len(infos))
    encoded = infos.dictionary_encode()
    distinct = encoded.dictionary
    if len(distinct) <= len(infos) // 2:
        return _index_distinct(distinct).take(encoded.indices)
    return _index_distinct(infos)


def are_empty(infos: pa.Array) -> bool:
    """Whether every row is `{}` (binary, without nulls), which is what most environments say."""
    count = len(infos)
    if not count:
        return True
    _, offsets, data = infos.buffers()
    if infos.null_count or data is None or infos.type != pa.binary():
        return False
    places = np.frombuffer(offsets, np.int32)[infos.offset : infos.offset + count + 1]
    first = int(places[0])
    if int(places[-1]) - first != 2 * count or bool((np.diff(places) != 2).any()):
        return False
    pairs = np.frombuffer(data, np.uint8)[first : first + 2 * count].view("<u2")
    return bool((pairs == _EMPTY).all())


def _index_distinct(infos: pa.Array) -> IndexColumns:
    parts = Parts()
    for start in range(0, len(infos), _BLOCK):
        rows = _load(infos.slice(start, _BLOCK).to_pylist())
        for keys, numbers in _groups(rows).items():
            if not add_group(parts, keys, np.asarray(numbers) + start, [rows[i] for i in numbers]):
                for i in numbers:
                    add_row(parts, i + start, index_tagged(rows[i]))
    return _columns(parts, len(infos))


def _load(cells: Sequence[bytes]) -> list[Any]:
    """The JSON of each cell; None where it is none. One at a time: what a row holds stays its own."""
    try:
        return list(map(orjson.loads, cells))
    except (orjson.JSONDecodeError, TypeError):
        return [_load_one(cell) for cell in cells]


def _load_one(cell: bytes | None) -> Any:
    try:
        return orjson.loads(cell or b"null")
    except orjson.JSONDecodeError:
        return None


def _groups(rows: list[Any]) -> dict[tuple[str, ...], Sequence[int]]:
    """Numbers of the rows that are dicts with members, by their keys."""
    if set(map(type, rows)) == {dict} and len(keys := set(map(tuple, rows))) == 1:
        (only,) = keys
        return {only: range(len(rows))} if only else {}
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, row in enumerate(rows):
        if type(row) is dict and row:
            groups.setdefault(tuple(row), []).append(i)
    return dict(groups)


def _columns(parts: Parts, count: int) -> IndexColumns:
    return IndexColumns(
        parts.num.as_map(count, pa.float64()),
        parts.int_.as_map(count, pa.int64()),
        parts.str_.as_map(count, pa.string()),
        parts.other.as_list(count),
    )
