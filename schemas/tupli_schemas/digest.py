"""An episode's content digest: XXH3-128, the same however rows were cut, here and from a store or an export.

Rows fall into chunks of 1,024 step indices. In a chunk each column has a digest of its own: of its cells as
little-endian bytes, and for columns of bytes of their lengths (u64) too. The episode's digest is that of the
layout's text, then of each column's digest over its name and its chunk digests. The final row counts; the
ordinal of the episode does not, so that a copy has the digest of the original.

It finds accidents. What must resist people uses SHA-256.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from tupli_schemas.arrow_numbers import flat_numbers, list_offsets
from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.steps import Layout

CHUNK_STEPS: Final = 1_024
_LEFT_OUT: Final = frozenset(("episode",))


@dataclass(frozen=True, slots=True)
class BytesCells:
    """Cells of bytes: cell `i` of n is `data[offsets[i]:offsets[i + 1]]`."""

    offsets: npt.NDArray[np.int32]
    data: memoryview


Cells = npt.NDArray[Any] | BytesCells
"""A column's cells: numbers of shape `(n, *cell)` in one piece of memory, or bytes."""


class EpisodeDigest:
    """The digest of one episode's rows, which come in the order of their steps."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._columns = _columns_of(layout.text)
        self._done: dict[str, list[bytes]] = {column.name: [] for column in self._columns}
        self._open: dict[str, _Hashers] = {}
        self._next_step = 0
        self._chunk = 0

    def update(self, batch: pa.RecordBatch) -> None:
        """Add rows of the episode (columns may be in any order, and more than the layout's).

        Raises:
            SchemaMismatch: A column is missing or of another type, or steps do not go on from the last one
                one by one.
        """
        rows, first = batch.num_rows, self._next_step
        cells = cells_of(batch, self._layout)
        steps = cells["step"]
        expected = np.arange(first, first + rows, dtype=np.uint64)
        if isinstance(steps, BytesCells) or not np.array_equal(steps, expected):
            raise SchemaMismatch(f"steps do not go on from {first} one by one", place="step")
        self.add(cells, 0, rows)

    def add(self, cells: Mapping[str, Cells], start: int, end: int) -> None:
        """Add the rows `start` to `end` of columns that are known to hold the next steps."""
        while start < end:
            self._move_to(self._next_step // CHUNK_STEPS)
            stop = min(start + CHUNK_STEPS - self._next_step % CHUNK_STEPS, end)
            for column in self._columns:
                self._feed(column, cells[column.name], start, stop)
            self._next_step += stop - start
            start = stop

    def hexdigest(self) -> str:
        """The digest of what came so far, as 32 hexadecimal digits. More rows may follow."""
        total = xxhash.xxh3_128(self._layout.text.encode())
        for name, chunks in self._done.items():
            column = xxhash.xxh3_128(name.encode())
            column.update(b"".join(chunks))
            if name in self._open:
                column.update(self._open[name].close())
            total.update(column.digest())
        return total.hexdigest()

    def _move_to(self, chunk: int) -> None:
        """Close the chunk that is complete, if rows now go to the next."""
        if chunk > self._chunk:
            for name, chunks in self._done.items():
                chunks.append(self._open.pop(name).close())
            self._chunk = chunk

    def _feed(self, column: "_Column", cells: Cells, start: int, end: int) -> None:
        hashers = self._open.get(column.name)
        if hashers is None:
            hashers = self._open[column.name] = _Hashers()
        if isinstance(cells, BytesCells):
            offsets = cells.offsets[start : end + 1]
            hashers.lengths.update(np.diff(offsets).astype("<u8").data)
            hashers.data.update(cells.data[offsets[0] : offsets[-1]])
        elif cells.size:
            hashers.data.update(_little_endian(cells[start:end]).data)


def cells_of(batch: pa.RecordBatch, layout: Layout) -> dict[str, Cells]:
    """The columns of a batch that count for the digest; they share its memory.

    Raises:
        SchemaMismatch: A column is missing or of another type.
    """
    return {column.name: _cells(batch, column) for column in _columns_of(layout.text)}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a layout: of bytes, or of so many numbers in each row."""

    name: str
    type: pa.DataType
    dtype: np.dtype[Any] | None
    size: int


class _Hashers:
    """One column's open chunk."""

    __slots__ = ("data", "lengths")

    def __init__(self) -> None:
        self.data = xxhash.xxh3_128()
        self.lengths = xxhash.xxh3_128()

    def close(self) -> bytes:
        return xxhash.xxh3_128_digest(self.lengths.digest() + self.data.digest())


@lru_cache(maxsize=64)
def _columns_of(layout: str) -> tuple[_Column, ...]:
    schema = Layout.parse(layout).arrow_schema
    return tuple(_column(field.name, field.type) for field in schema if field.name not in _LEFT_OUT)


def _column(name: str, kind: pa.DataType) -> _Column:
    if pa.types.is_binary(kind):
        return _Column(name, kind, None, 0)
    size, item = (kind.list_size, kind.value_type) if pa.types.is_fixed_size_list(kind) else (1, kind)
    return _Column(name, kind, np.dtype(item.to_pandas_dtype()), size)


def _cells(batch: pa.RecordBatch, column: _Column) -> Cells:
    index = batch.schema.get_field_index(column.name)
    if index < 0:
        raise SchemaMismatch("is missing", place=column.name)
    array = batch.column(index)
    if array.type != column.type or array.null_count:
        raise SchemaMismatch(f"{array.type} where {column.type} without nulls belongs", place=column.name)
    if column.dtype is None:
        return BytesCells(list_offsets(array), memoryview(array.buffers()[2] or b""))
    if not pa.types.is_fixed_size_list(array.type):
        return flat_numbers(array, column.dtype)
    rows, begin = len(array), array.offset * column.size  # a child knows nothing of its list's offset
    flat = flat_numbers(array.values, column.dtype)[begin : begin + rows * column.size]
    return flat.reshape(rows, column.size)


def _little_endian(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values if sys.byteorder == "little" else values.astype(values.dtype.newbyteorder("<"))
