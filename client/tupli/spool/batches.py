"""Mapped rows as Arrow record batches, without copying what has a fixed size."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tupli.spool.layout import IS_FINAL, TERMINATED, TRUNCATED
from tupli.spool.segment import Segment
from tupli_schemas.steps import NUMERIC, Cell

EMPTY_INFO: Final = b"{}"

Rows = slice | npt.NDArray[Any]
"""A range of rows (shared memory), or their indices (copied)."""


def build_batch(
    segment: Segment, rows: Rows, episodes: npt.NDArray[np.uint32], steps: npt.NDArray[np.uint64]
) -> pa.RecordBatch:
    """The batch of some rows of a segment.

    Args:
        segment: The segment.
        rows: Which rows, n of them.
        episodes: Ordinals of their episodes, shape (n,).
        steps: Indices within their episodes, shape (n,).
    """
    layout = segment.shape.layout
    columns = segment.columns
    flags = columns["flags"][rows]
    arrays = [
        numbers(episodes, pa.uint32()),
        numbers(steps, pa.uint64()),
        numbers((flags & IS_FINAL) >> np.uint8(2), pa.uint8()),
        numbers(columns["reward"][rows], pa.float64()),
        numbers(flags & TERMINATED, pa.uint8()),
        numbers((flags & TRUNCATED) >> np.uint8(1), pa.uint8()),
        numbers(columns["time"][rows], pa.int64()),
        _bytes_column(segment, columns["info"][rows], columns["info_size"][rows], EMPTY_INFO),
    ]
    arrays += [_leaf(segment, name, cell, rows, len(flags)) for name, cell in layout.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=layout.arrow_schema)


def numbers(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """A flat array as an Arrow column, without copying.

    Not `pa.array`, which imports pandas where it is installed: seconds, in the middle of somebody's run.
    """
    return pa.Array.from_buffers(
        kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))], null_count=0
    )


def row_sizes(segment: Segment, rows: slice) -> npt.NDArray[np.int64]:
    """About how many bytes each row has in a record."""
    sizes = np.full(rows.stop - rows.start, segment.shape.row_bytes, np.int64)
    for name, values in segment.columns.items():
        if name.endswith("_size"):
            sizes += values[rows]
    return sizes


def _leaf(segment: Segment, name: str, cell: Cell, rows: Rows, count: int) -> pa.Array:
    if cell.is_numeric:
        if not cell.size:
            return _constant(b"", count)
        flat = numbers(segment.columns[name][rows].reshape(-1), NUMERIC[cell.code][1])
        return flat if cell.shape == () else pa.FixedSizeListArray.from_arrays(flat, type=cell.arrow_type)
    at, size = segment.columns[name][rows], segment.columns[f"{name}_size"][rows]
    return _bytes_column(segment, at, size, b"")


def _bytes_column(
    segment: Segment, at: npt.NDArray[np.uint32], size: npt.NDArray[np.uint32], empty: bytes
) -> pa.Array:
    """A binary column of pieces of the heap; `empty` stands where there is none."""
    if not size.any():
        return _constant(empty, len(size))
    begin = at.astype(np.int64)
    end = begin + size
    if size.all() and bool((begin[1:] == end[:-1]).all()):
        offsets = np.append(begin, end[-1]) - begin[0]
        data = pa.py_buffer(segment.heap[int(begin[0]) : int(end[-1])])
        return _binary(len(size), offsets, data)
    heap = segment.heap
    pieces = [heap[a:b] if a else empty for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
    sizes = np.fromiter(map(len, pieces), np.int64, len(pieces))
    return _binary(len(pieces), np.append(0, np.cumsum(sizes)), pa.py_buffer(b"".join(pieces)))


def _constant(value: bytes, count: int) -> pa.Array:
    offsets = np.arange(count + 1, dtype=np.int64) * len(value)
    return _binary(count, offsets, pa.py_buffer(value * count))


def _binary(count: int, offsets: npt.NDArray[Any], data: pa.Buffer) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), data]
    return pa.Array.from_buffers(pa.binary(), count, buffers, null_count=0)
