"""Columns that grow while blocks arrive: numbers in arrays that are written once, bytes in lists."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tupli.errors import IntegrityError
from tupli_schemas.arrow_numbers import flat_numbers, list_offsets
from tupli_schemas.steps import NUMERIC, Cell

Ints = npt.NDArray[np.int64]


class Buffer(Protocol):
    """A column of kept rows. Rows are appended by their index within a block's column."""

    def append(self, column: pa.Array, rows: Ints | None) -> None:
        """Add the rows of a column; None: all of it."""

    def set_last(self, column: pa.Array, row: int) -> None:
        """Replace the last row."""

    def view(self, count: int) -> Any:
        """The first `count` rows; what it shares memory with stays as it is until `drop`."""

    def drop(self, count: int) -> None:
        """Forget the first `count` rows."""


class NumericBuffer:
    """Rows of shape `(n, *cell.shape)`."""

    def __init__(self, cell: Cell, capacity: int, *, fill: Any = 0) -> None:
        self._cell = cell
        self._fill = fill
        self._data: npt.NDArray[Any] = np.empty((capacity, *cell.shape), cell.dtype)
        self._size = 0

    def append(self, column: pa.Array, rows: Ints | None) -> None:
        """Add rows; a negative index adds the filling."""
        values = numbers(column, self._cell)
        count = len(values) if rows is None else len(rows)
        self._reserve(count)
        target = self._data[self._size : self._size + count]
        if rows is None:
            target[...] = values
        else:
            np.take(values, rows, axis=0, out=target, mode="clip")
            missing = rows < 0
            if missing.any():
                target[missing] = self._fill
        self._size += count

    def extend(self, values: npt.NDArray[Any]) -> None:
        """Add values that are no Arrow column."""
        self._reserve(len(values))
        self._data[self._size : self._size + len(values)] = values
        self._size += len(values)

    def set_last(self, column: pa.Array, row: int) -> None:
        """Replace the last row."""
        self.replace_last(numbers(column, self._cell)[row])

    def replace_last(self, value: Any) -> None:
        """Replace the last row by a value."""
        self._data[self._size - 1] = value

    def last(self) -> Any:
        """The last row."""
        return self._data[self._size - 1]

    def view(self, count: int) -> npt.NDArray[Any]:
        """The first rows, without copying."""
        return self._data[:count]

    def drop(self, count: int) -> None:
        """Forget the first rows; what `view` gave keeps its memory."""
        left = self._data[count : self._size]
        self._data = np.empty((len(self._data), *self._cell.shape), self._cell.dtype)
        self._data[: len(left)] = left
        self._size = len(left)

    def _reserve(self, count: int) -> None:
        needed = self._size + count
        if needed > len(self._data):
            data = np.empty((max(needed, len(self._data) * 2), *self._cell.shape), self._cell.dtype)
            data[: self._size] = self._data[: self._size]
            self._data = data


class BytesBuffer:
    """Rows of bytes, as a list."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []

    def append(self, column: pa.Array, rows: Ints | None) -> None:
        """Add rows; a negative index adds the bytes of the row before, as there is no value to show."""
        if rows is None:
            self._rows += column.to_pylist()
            return
        values = column.to_pylist()
        self._rows += [values[max(row, 0)] for row in rows.tolist()]

    def set_last(self, column: pa.Array, row: int) -> None:
        """Replace the last row."""
        self._rows[-1] = column[row].as_py()

    def view(self, count: int) -> list[bytes]:
        """The first rows."""
        return self._rows[:count]

    def drop(self, count: int) -> None:
        """Forget the first rows."""
        del self._rows[:count]


class ChunkedBuffer:
    """Rows of bytes, as Arrow holds them: nothing is made of a row before it is asked for."""

    def __init__(self) -> None:
        self._chunks: list[pa.Array] = []

    def append(self, column: pa.Array, rows: Ints | None) -> None:
        """Add rows."""
        self._chunks.append(column if rows is None else column.take(pa.array(rows)))

    def set_last(self, column: pa.Array, row: int) -> None:
        """Replace the last row."""
        self._chunks[-1] = self._chunks[-1].slice(0, len(self._chunks[-1]) - 1)
        self._chunks.append(column.slice(row, 1))

    def view(self, count: int) -> pa.ChunkedArray:
        """The first rows."""
        return pa.chunked_array(self._chunks, pa.binary()).slice(0, count)

    def drop(self, count: int) -> None:
        """Forget the first rows."""
        self._chunks = list(pa.chunked_array(self._chunks, pa.binary()).slice(count).chunks)


def numbers(column: pa.Array, cell: Cell) -> npt.NDArray[Any]:
    """A numeric column as an array of shape `(n, *cell.shape)` that shares its memory.

    Raises:
        IntegrityError: The column is not what the step schema says, or a row has another number of elements.
    """
    count = len(column)
    if cell.is_opaque or not count:
        return np.empty((count, *cell.shape), cell.dtype)
    primitive = column.type if cell.shape == () else column.values.type
    if primitive != NUMERIC[cell.code][1] or column.null_count:
        raise IntegrityError(f"a column of {primitive} came where {cell.text} belongs")
    if cell.shape == ():
        return flat_numbers(column, cell.storage_dtype).view(cell.dtype)
    offsets = list_offsets(column)
    first = int(offsets[0])
    if (offsets[1:] - offsets[:-1] != cell.size).any():
        raise IntegrityError(f"a row that is not of shape {list(cell.shape)} came")
    values = flat_numbers(column.values, cell.storage_dtype)[first : first + count * cell.size]
    return values.view(cell.dtype).reshape(count, *cell.shape)
