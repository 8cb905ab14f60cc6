"""Where the parts of a segment file lie.

    header page | meta JSON | records | large columns, each aligned to 64 bytes | control records | heap

With one slot, a row's small columns stand side by side in a record, so that a step is one contiguous
write; with more, a block of rows is written column by column, and every column is large.

All numbers are in the machine's byte order: a spool never leaves its machine.
"""

import struct
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Final

import numpy as np

from tupli_schemas.steps import Cell, Layout

PAGE: Final = 4096
MAGIC: Final = b"TUPLISG1"
FIXED: Final = struct.Struct("=8sQQQQQ")
"""magic, meta bytes, rows, slots, control bytes, heap bytes"""

PUBLISHED_AT: Final = 512
"""One word that covers everything: `closed << 63 | control bytes << 32 | rows`. Stored at once, so what a
killed process has published is whole."""
ACKNOWLEDGED_AT: Final = 1024
"""The same word, up to where the server has made everything durable."""
CLOSED: Final = 1 << 63
ROWS_MASK: Final = 2**32 - 1
CONTROL_MASK: Final = 2**31 - 1

TERMINATED: Final = 1
TRUNCATED: Final = 2
IS_FINAL: Final = 4

END_RESERVE: Final = 256
"""Control bytes kept free for each slot, so that its episode can always be closed."""
INLINE: Final = 4096
"""Cells of up to so many bytes stand in records."""
HEAP_START: Final = 8
"""Heap offset 0 means that there is nothing."""


def pack_word(rows: int, control: int, *, closed: bool = False) -> int:
    """The published word."""
    return (CLOSED if closed else 0) | control << 32 | rows


def unpack_word(word: int) -> tuple[int, int, bool]:
    """Rows, control bytes, and whether the next segment goes on."""
    return word & ROWS_MASK, word >> 32 & CONTROL_MASK, bool(word & CLOSED)


_OUTCOME: Final[tuple[tuple[str, str, tuple[int, ...]], ...]] = (
    # After observation and action: what a step leads to stands before the next row's observation.
    ("reward", "f8", ()),
    ("time", "i8", ()),
    ("info", "u4", ()),
    ("info_size", "u4", ()),
    ("slot", "u4", ()),
    ("flags", "u1", ()),
)


@dataclass(frozen=True)
class SegmentShape:
    """How large the parts of a segment are.

    Attributes:
        layout: The step columns.
        slots: Environments of the stream; rows come in blocks of as many.
        rows: Capacity in rows.
        control: Capacity in bytes for starts, ends and amendments.
        heap: Capacity in bytes for infos and values without fixed size.
    """

    layout: Layout
    slots: int
    rows: int
    control: int
    heap: int

    @cached_property
    def columns(self) -> tuple[tuple[str, "np.dtype[Any]", tuple[int, ...]], ...]:
        """Name, dtype and shape of one row, of each mapped column.

        Infos and opaque leaves have two columns, where in the heap their bytes are and how many.
        """
        found: list[tuple[str, Any, tuple[int, ...]]] = []
        for name, cell in self.layout.columns:
            found += _leaf_columns(name, cell)
        return tuple((name, np.dtype(kind), shape) for name, kind, shape in (*found, *_OUTCOME))

    @cached_property
    def sizes(self) -> tuple[str, ...]:
        """The columns that say how many bytes of the heap a row has."""
        return tuple(name for name, _, _ in self.columns if name.endswith("_size"))

    @cached_property
    def record(self) -> tuple[dict[str, int], int]:
        """Where each column of a record starts, each aligned to its items, and the size of a record."""
        if self.slots > 1:
            return {}, 0
        at, out = 0, {}
        for name, dtype, shape in self.columns:
            size = dtype.itemsize * prod(shape)
            if size <= INLINE:
                at = -(-at // dtype.itemsize) * dtype.itemsize
                out[name] = at
                at += size
        return out, -(-at // 8) * 8

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of one row in records and large columns."""
        inline, size = self.record
        return size + sum(d.itemsize * prod(shape) for name, d, shape in self.columns if name not in inline)

    def offsets(self, meta_size: int) -> tuple[dict[str, tuple[int, int]], int, int, int]:
        """Where each column starts and from row to row how far it is, then control, heap, and the size of the file."""
        inline, record = self.record
        at = -(-(PAGE + meta_size) // 64) * 64
        out = {name: (at + offset, record) for name, offset in inline.items()}
        at += record * self.rows
        for name, dtype, shape in self.columns:
            if name not in inline:
                at = -(-at // 64) * 64
                row = dtype.itemsize * prod(shape)
                out[name] = (at, row)
                at += row * self.rows
        control = -(-at // 64) * 64
        heap = control + -(-self.control // 64) * 64
        return out, control, heap, -(-(heap + self.heap) // PAGE) * PAGE


def _leaf_columns(name: str, cell: Cell) -> list[tuple[str, Any, tuple[int, ...]]]:
    if cell.is_numeric:
        return [(name, cell.storage_dtype, cell.shape)] if cell.size else []
    return [(name, "u4", ()), (f"{name}_size", "u4", ())]


MIN_SEGMENT: Final = 1 << 20
MAX_SEGMENT: Final = 32 << 20


def plan(layout: Layout, slots: int, *, size: int, heap_per_row: float, start_bytes: int) -> SegmentShape:
    """A shape of about `size` bytes in all, with room for at least four blocks of rows.

    Args:
        layout: The step columns.
        slots: Environments of the stream.
        size: What is aimed at.
        heap_per_row: Heap bytes that a row took so far.
        start_bytes: Bytes of the largest control record so far.
    """
    row_bytes = SegmentShape(layout, slots, 1, 0, 0).row_bytes
    control = min(max(size // 16, 16 * 1024), 1 << 20) + slots * (END_RESERVE + 1024) + 2 * start_bytes
    per_row = row_bytes + heap_per_row
    rows = max(int((size - control) // per_row), 4 * slots, 16)
    heap = max(int(rows * heap_per_row * 1.1), 32 * 1024) + HEAP_START
    return SegmentShape(layout, slots, rows, -(-control // 64) * 64, heap)
