"""Index columns in the making: parts hold one path's values of many rows, and are ordered at the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tupli_schemas.index_row import (
    EXACT,
    MAX_DEPTH,
    MAX_PATH_BYTES,
    MAX_PATHS,
    MAX_STRING_BYTES,
    Kind,
    RowIndex,
    classify,
    is_short_text,
)
from tupli_schemas.paths import escape_key
from tupli_schemas.values_numpy import PLAIN_TAGS

NUMBERS: Final = {float, int, bool}
_OTHERS: Final = {type(None), list}

Rows = npt.NDArray[np.int64]
Four = tuple[pa.MapArray, pa.MapArray, pa.MapArray, pa.ListArray]
"""Index columns: numbers, large integers, texts, paths of anything else."""
Fields = list[tuple[str, Sequence[Any] | None]]
"""Paths with the values of all rows, or with None for dicts, whose members follow."""


@dataclass
class Column:
    """One index column: runs of (path, rows, values), and single entries."""

    rows: list[Rows] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    single_rows: list[int] = field(default_factory=list)
    single_paths: list[str] = field(default_factory=list)
    single_values: list[Any] = field(default_factory=list)

    def add_run(self, path: str, rows: Rows, values: Any) -> None:
        """One path of many rows."""
        self.paths.append(path)
        self.rows.append(rows)
        self.values.append(values)

    def add_one(self, path: str, row: int, value: Any) -> None:
        """One path of one row."""
        self.single_paths.append(path)
        self.single_rows.append(row)
        self.single_values.append(value)

    def as_map(self, count: int, value_type: pa.DataType) -> pa.MapArray:
        """The column of `count` rows as maps of path to value."""
        offsets, order = self._order(count)
        keys = self._keys().take(order)
        return pa.MapArray.from_arrays(offsets, keys, self._items(value_type).take(order))

    def as_list(self, count: int) -> pa.ListArray:
        """The column of `count` rows as lists of paths."""
        offsets, order = self._order(count)
        return pa.ListArray.from_arrays(offsets, self._keys().take(order))

    def _order(self, count: int) -> tuple[pa.Array, pa.Array]:
        """Where each row starts, and the entries in the order of rows.

        Those of a row stay as they were added.
        """
        rows = np.concatenate([*self.rows, np.asarray(self.single_rows, np.int64)])
        offsets = np.zeros(count + 1, np.int32)
        np.cumsum(np.bincount(rows, minlength=count), out=offsets[1:])
        return pa.array(offsets), pa.array(np.argsort(rows, kind="stable"))

    def _keys(self) -> pa.Array:
        codes = np.repeat(np.arange(len(self.paths)), [len(rows) for rows in self.rows])
        runs = pa.array(self.paths, pa.string()).take(pa.array(codes))
        return pa.concat_arrays([runs, pa.array(self.single_paths, pa.string())])

    def _items(self, value_type: pa.DataType) -> pa.Array:
        runs = [pa.array(values, value_type) for values in self.values]
        return pa.concat_arrays([*runs, pa.array(self.single_values, value_type)])


@dataclass
class Parts:
    """The four columns."""

    num: Column = field(default_factory=Column)
    int_: Column = field(default_factory=Column)
    str_: Column = field(default_factory=Column)
    other: Column = field(default_factory=Column)

    def of(self, kind: Kind) -> Column:
        """The column of a kind."""
        return {"num": self.num, "int": self.int_, "str": self.str_, "other": self.other}[kind]

    def columns(self, count: int) -> Four:
        """The columns of `count` rows."""
        num = self.num.as_map(count, pa.float64())
        maps = self.int_.as_map(count, pa.int64()), self.str_.as_map(count, pa.string())
        return num, *maps, self.other.as_list(count)


def add_row(parts: Parts, row: int, index: RowIndex) -> None:
    """Add what the definition says of one row."""
    for column, entries in ((parts.num, index.num), (parts.int_, index.int_), (parts.str_, index.str_)):
        for path, value in entries.items():
            column.add_one(path, row, value)
    for path in index.other:
        parts.other.add_one(path, row, None)


def add_group(parts: Parts, keys: tuple[str, ...], numbers: Rows, rows: Sequence[dict[str, Any]]) -> bool:
    """Add rows that have the same keys, key by key.

    False (and nothing added) when they are not that plain.
    """
    fields: Fields = []
    if not spread("", keys, rows, fields, 1):
        return False
    for path, values in fields:
        if values is None:
            parts.other.add_run(path, numbers, None)
            continue
        for kind, of_kind, kept in runs(values, numbers):
            parts.of(kind).add_run(path, of_kind, kept)
    return True


def spread(
    prefix: str,
    keys: tuple[str, ...],
    rows: Sequence[dict[str, Any]],
    fields: Fields,
    depth: int,
) -> bool:
    """Append (path, values of all rows) for each key, and (path, None) for nested dicts, then theirs."""
    if len(fields) + len(keys) > MAX_PATHS or (len(keys) == 1 and keys[0].startswith("$")):
        return False
    for key, values in zip(keys, zip(*map(dict.values, rows), strict=True), strict=True):
        path = prefix + escape_key(key)
        if not is_short_text(path, MAX_PATH_BYTES):
            return False
        if dict not in set(map(type, values)):
            fields.append((path, values))
        elif not _spread_dicts(path, values, fields, depth):
            return False
    return len(fields) <= MAX_PATHS


def _spread_dicts(path: str, values: Sequence[Any], fields: Fields, depth: int) -> bool:
    """As `spread`, for values of one path of which some are tags or dicts."""
    if set(map(type, values)) == {dict}:
        shapes = set(map(tuple, values))
        if len(shapes) == 1:
            (keys,) = shapes
            if keys and keys[0] in PLAIN_TAGS and len(keys) == 1:
                payloads = [value[keys[0]] for value in values]
                if set(map(type, payloads)) <= NUMBERS:
                    fields.append((path, payloads))
                    return True
            elif len(keys) != 1 or keys[0][:1] != "$":
                fields.append((path, None))
                return depth == MAX_DEPTH or not keys or spread(f"{path}.", keys, values, fields, depth + 1)
    if all(map(_has_no_members, values)):
        fields.append((path, values))
        return True
    return False


def _has_no_members(value: Any) -> bool:
    """Whether a value is no dict, or a tag that stands for none."""
    if type(value) is not dict:
        return True
    tag = next(iter(value)) if len(value) == 1 else ""
    return tag[:1] == "$" and tag not in ("$d", "$as")


def runs(values: Sequence[Any], rows: Rows) -> list[tuple[Kind, Rows, Any]]:
    """The values of one path by their kinds."""
    kinds = set(map(type, values))
    if kinds <= NUMBERS and (int not in kinds or (max(values) <= EXACT and min(values) >= -EXACT)):
        return [("num", rows, np.array(values, np.float64))]
    if kinds == {str} and 4 * max(map(len, values)) <= MAX_STRING_BYTES:
        return [("str", rows, values)]
    if kinds <= _OTHERS:
        return [("other", rows, None)]
    found: dict[Kind, tuple[list[int], list[Any]]] = {}
    for row, value in zip(rows.tolist(), values, strict=True):
        kind, kept = classify(value)
        of_kind = found.setdefault(kind, ([], []))
        of_kind[0].append(row)
        of_kind[1].append(kept)
    return [(kind, np.asarray(of, np.int64), kept) for kind, (of, kept) in found.items()]
