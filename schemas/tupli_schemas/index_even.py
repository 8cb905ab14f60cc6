"""The index of rows that are all alike: the same keys, and under each key values of one kind.

Each row then has the same paths, so that entries stand in a rectangle of rows and paths and need no sorting.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa

from tupli_schemas.index_columns import NUMBERS, Fields, Four, runs, spread
from tupli_schemas.index_row import EXACT, MAX_PATH_BYTES, MAX_PATHS, Kind, is_short_text
from tupli_schemas.paths import escape_key

MAX_KNOWN_BYTES: Final = 1024 * 1024
"""Paths of more bytes, repeated for all rows, are not remembered."""
MAX_KNOWN_CHARACTERS: Final = 16 * 1024
"""Keys of more characters are not remembered: what a stranger sends must not fill the memory."""
_TYPES: Final[dict[Kind, pa.DataType]] = {"num": pa.float64(), "int": pa.int64(), "str": pa.string()}


def even_columns(keys: tuple[str, ...], rows: Sequence[dict[str, Any]]) -> Four | None:
    """The index of rows with these keys; None when they are not that even."""
    is_known = sum(map(len, keys)) <= MAX_KNOWN_CHARACTERS
    paths = _known_paths(keys) if is_known else _flat_paths(keys)
    if paths is not None and (numbers := _numbers(rows, len(paths))) is not None:
        return _columns({"num": (paths, numbers)}, len(rows))
    fields: Fields = []
    if not spread("", keys, rows, fields, 1):
        return None
    found: dict[Kind, tuple[list[str], list[Any]]] = {}
    every = np.arange(len(rows))
    for path, values in fields:
        of_path: list[tuple[Kind, Any, Any]] = (
            [("other", every, None)] if values is None else runs(values, every)
        )
        if len(of_path) != 1:
            return None
        kind, _, kept = of_path[0]
        names, columns = found.setdefault(kind, ([], []))
        names.append(path)
        columns.append(kept)
    return _columns(
        {kind: (tuple(names), _woven(kind, of)) for kind, (names, of) in found.items()}, len(rows)
    )


def _flat_paths(keys: tuple[str, ...]) -> tuple[str, ...] | None:
    """The paths of keys under which there are no dicts; None when they need a closer look."""
    paths = tuple(map(escape_key, keys))
    tag = len(keys) == 1 and keys[0].startswith("$")
    if tag or len(paths) > MAX_PATHS or not all(is_short_text(path, MAX_PATH_BYTES) for path in paths):
        return None
    return paths


_known_paths: Final = lru_cache(maxsize=64)(_flat_paths)


def _numbers(rows: Sequence[dict[str, Any]], width: int) -> Any:
    """The values of rows that hold nothing but exact numbers, row by row.

    None when they hold something else.
    """
    values = list(chain.from_iterable(map(dict.values, rows)))
    kinds = set(map(type, values))
    if not kinds <= NUMBERS:
        return None
    numbers = np.fromiter(values, np.float64, len(rows) * width)
    if int in kinds and not (np.abs(numbers) < EXACT).all():
        return None
    return numbers


def _woven(kind: Kind, columns: list[Any]) -> Any:
    """The values of the paths of a kind, row by row."""
    if kind == "other":
        return None
    if kind == "num":
        return np.stack(columns, axis=1).ravel()
    return list(chain.from_iterable(zip(*columns, strict=True)))


def _columns(found: dict[Kind, tuple[tuple[str, ...], Any]], count: int) -> Four:
    num, int_, str_ = (_map(kind, *found.get(kind, ((), [])), count) for kind in _TYPES)
    other, _ = found.get("other", ((), None))
    return num, int_, str_, pa.ListArray.from_arrays(_offsets(len(other), count), _repeated(other, count))


def _map(kind: Kind, paths: tuple[str, ...], values: Any, count: int) -> pa.MapArray:
    items = pa.array(values, _TYPES[kind])
    return pa.MapArray.from_arrays(_offsets(len(paths), count), _repeated(paths, count), items)


def _offsets(width: int, count: int) -> pa.Array:
    return pa.array(np.arange(count + 1, dtype=np.int32) * width, pa.int32())


def _repeated(paths: tuple[str, ...], count: int) -> pa.Array:
    """The paths of a row, for each of the rows."""
    if count * sum(map(len, paths)) > MAX_KNOWN_BYTES:
        return _tile(paths, count)
    return _known_tile(paths, count)


def _tile(paths: tuple[str, ...], count: int) -> pa.Array:
    return pa.array(paths, pa.string()).take(pa.array(np.tile(np.arange(len(paths)), count)))


_known_tile: Final = lru_cache(maxsize=8)(_tile)
