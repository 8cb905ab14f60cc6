"""Mapped rows as columns and as Arrow record batches, without copying what is in one piece."""

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tupli.spool.layout import IS_FINAL, TERMINATED, TRUNCATED
from tupli.spool.segment import Segment
from tupli_schemas.digest import BytesCells, Cells
from tupli_schemas.steps import Cell, Layout

EMPTY_INFO: Final = b"{}"
MAX_ROWS: Final = 65_536
"""Of one batch."""

Rows = slice | npt.NDArray[Any]
"""A range of rows (shared memory), or their indices (copied)."""


def columns_of(
    segment: Segment, rows: Rows, episodes: npt.NDArray[np.uint32], steps: npt.NDArray[np.uint64]
) -> dict[str, Cells]:
    """The columns of some rows of a segment, in the order of their layout's Arrow schema.

    Args:
        segment: The segment.
        rows: Which rows, n of them, at most `MAX_ROWS`.
        episodes: Ordinals of their episodes, shape (n,).
        steps: Indices within their episodes, shape (n,).
    """
    columns, count = segment.columns, len(steps)
    flags = columns["flags"][rows]
    no_flags = _zeros()[:count] if not flags.any() else None
    out: dict[str, Cells] = {
        "episode": episodes,
        "step": steps,
        "is_final": (flags & IS_FINAL) >> np.uint8(2) if no_flags is None else no_flags,
        "reward": np.ascontiguousarray(columns["reward"][rows]),
        "terminated": flags & TERMINATED if no_flags is None else no_flags,
        "truncated": (flags & TRUNCATED) >> np.uint8(1) if no_flags is None else no_flags,
        "time": np.ascontiguousarray(columns["time"][rows]),
        "info": _bytes_cells(segment, columns["info"][rows], columns["info_size"][rows], EMPTY_INFO),
    }
    for name, cell in segment.shape.layout.columns:
        out[name] = _leaf(segment, name, cell, rows, count)
    return out


def batch_of(columns: dict[str, Cells], layout: Layout) -> pa.RecordBatch:
    """The columns as a record batch; it shares their memory."""
    schema = layout.arrow_schema
    arrays = [_arrow(cells, field.type) for cells, field in zip(columns.values(), schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def rows_within(segment: Segment, start: int, stop: int, max_bytes: int) -> int:
    """How many of these rows fit a record of about so many bytes; at least one."""
    shape, count = segment.shape, min(stop - start, MAX_ROWS)
    sizes = [segment.columns[name][start : start + count] for name in shape.sizes]
    heap = sum(int(size.sum(dtype=np.int64)) for size in sizes)
    if count * shape.row_bytes + heap <= max_bytes:
        return count
    of_row = np.full(count, shape.row_bytes, np.int64)
    for size in sizes:
        of_row += size
    return max(int(np.searchsorted(np.cumsum(of_row), max_bytes)), 1)


def _arrow(cells: Cells, kind: pa.DataType) -> pa.Array:
    """A column for Arrow, without copying.

    Not `pa.array`, which imports pandas where it is installed: seconds, in the middle of somebody's run.
    """
    if isinstance(cells, BytesCells):
        buffers = [None, pa.py_buffer(cells.offsets), pa.py_buffer(cells.data)]
        return pa.Array.from_buffers(kind, len(cells.offsets) - 1, buffers, null_count=0)
    is_list = pa.types.is_fixed_size_list(kind)
    item = kind.value_type if is_list else kind
    flat = pa.Array.from_buffers(item, cells.size, [None, pa.py_buffer(cells)], null_count=0)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind) if is_list else flat


def _leaf(segment: Segment, name: str, cell: Cell, rows: Rows, count: int) -> Cells:
    if cell.is_numeric:
        if not cell.size:
            return _constant(b"", count)
        return np.ascontiguousarray(segment.columns[name][rows])
    at, size = segment.columns[name][rows], segment.columns[f"{name}_size"][rows]
    return _bytes_cells(segment, at, size, b"")


def _bytes_cells(
    segment: Segment, at: npt.NDArray[np.uint32], size: npt.NDArray[np.uint32], empty: bytes
) -> BytesCells:
    """Pieces of the heap; `empty` stands where there is none."""
    if not size.any():
        return _constant(empty, len(size))
    begin = at.astype(np.int64)
    end = begin + size
    if size.all() and bool((begin[1:] == end[:-1]).all()):
        offsets = np.append(begin, end[-1]) - begin[0]
        return BytesCells(offsets.astype(np.int32), segment.heap[int(begin[0]) : int(end[-1])])
    heap = segment.heap
    pieces = [heap[a:b] if a else empty for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
    sizes = np.fromiter(map(len, pieces), np.int64, len(pieces))
    offsets = np.append(0, np.cumsum(sizes)).astype(np.int32)
    return BytesCells(offsets, memoryview(b"".join(pieces)))


def _constant(value: bytes, count: int) -> BytesCells:
    offsets, data = _repeated(value)
    return BytesCells(offsets[: count + 1], data[: count * len(value)])


@lru_cache(maxsize=4)
def _repeated(value: bytes) -> tuple[npt.NDArray[np.int32], memoryview]:
    offsets = np.arange(MAX_ROWS + 1, dtype=np.int32) * np.int32(len(value))
    return offsets, memoryview(value * MAX_ROWS)


@lru_cache(maxsize=1)
def _zeros() -> npt.NDArray[np.uint8]:
    return np.zeros(MAX_ROWS, np.uint8)
