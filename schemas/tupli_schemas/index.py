"""The index of many rows: `index_row`'s definition as four Arrow columns, quickly.

Rows without members cost nothing, equal rows are indexed once, and rows that have the same keys and plain
values are indexed key by key: without being sorted where all of a block are such rows with many keys
(`index_even`), else together with those beside them (`index_columns`). All other rows go through the
definition one by one. The outcome never depends on which way a row took or which rows stood beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from tupli_schemas.index_columns import Four, Parts, add_group, add_row
from tupli_schemas.index_even import even_columns
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

_EMPTY: Final = b"{}"
_OFFSET_BYTES: Final = 4
_MANY_KEYS: Final = 8
"""From so many on it is cheaper to make columns of each block than to sort them all together."""
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
        return IndexColumns(*Parts().columns(len(infos)))
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
    places = (
        memoryview(offsets).cast("B")[_OFFSET_BYTES * infos.offset :][: _OFFSET_BYTES * (count + 1)].cast("i")
    )
    first, last = places[0], places[count]
    if last - first != 2 * count or bytes(places) != np.arange(first, last + 1, 2, dtype=np.int32).tobytes():
        return False
    return bytes(memoryview(data)[first:last]) == _EMPTY * count


def _index_distinct(infos: pa.Array) -> IndexColumns:
    done: list[Four] = []
    parts, since = Parts(), 0
    for start in range(0, len(infos), _BLOCK):
        rows = _load(infos.slice(start, _BLOCK).to_pylist())
        groups = _groups(rows)
        if (even := _even(groups, rows)) is None:
            _add_block(parts, groups, rows, start - since)
            continue
        if start > since:
            done.append(parts.columns(start - since))
        done.append(even)
        parts, since = Parts(), start + len(rows)
    if len(infos) > since:
        done.append(parts.columns(len(infos) - since))
    return IndexColumns(*map(pa.concat_arrays, zip(*done, strict=True)))


def _even(groups: Mapping[tuple[str, ...], Sequence[int]], rows: list[Any]) -> Four | None:
    """The index of a block whose rows are all alike and have many keys; None of any other."""
    if len(groups) == 1:
        ((keys, numbers),) = groups.items()
        if len(numbers) == len(rows) and len(keys) >= _MANY_KEYS:
            return even_columns(keys, rows)
    return None


def _add_block(
    parts: Parts, groups: Mapping[tuple[str, ...], Sequence[int]], rows: list[Any], start: int
) -> None:
    for keys, numbers in groups.items():
        if not add_group(parts, keys, np.asarray(numbers) + start, [rows[i] for i in numbers]):
            for i in numbers:
                add_row(parts, i + start, index_tagged(rows[i]))


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
