"""Blocks of rows that move: from the segment where they were written to the one that goes on."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from tupli.spool.segment import Segment
from tupli.spool.writer import StreamWriter

Block = Mapping[str, npt.NDArray[Any]]
"""A block's rows of some columns, each of shape `(slots, *cell)`."""


def block_of(segment: Segment, row: int, slots: int) -> dict[str, npt.NDArray[Any]]:
    """The block that begins at a row; it shares the segment's memory."""
    return {name: values[row : row + slots] for name, values in segment.columns.items()}


def heap_bytes(block: Block) -> int:
    """Bytes that the block has in the heap."""
    return sum(int(values.sum()) for name, values in block.items() if name.endswith("_size"))


def copy_block(block: Block, heap: memoryview, writer: StreamWriter) -> None:
    """Write a block where the writer's next one goes; what it has in `heap` moves along.

    Raises:
        HeapFull: The writer's segment has no room for it.
    """
    row, columns = writer.row, writer.segment.columns
    for name, values in block.items():
        columns[name][row : row + len(values)] = values
    for name, places in block.items():
        sizes = block.get(f"{name}_size")
        if sizes is None:
            continue
        for slot, (at, size) in enumerate(zip(places.tolist(), sizes.tolist(), strict=True)):
            if at:
                columns[name][row + slot] = writer.put_bytes(bytes(heap[at : at + size]))
