"""What episodes end on: the final rows of a vector's slots, packed behind the block that ended them.

There may be no room for them; then the steps stand without.
"""

from collections.abc import Sequence
from typing import Any

from tupli.errors import SpoolFull
from tupli.recording.stream import FULL, check_cells
from tupli.spool.directory import TooManyFiles
from tupli.spool.layout import IS_FINAL
from tupli.spool.writer import HeapFull, StreamWriter
from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.structures import Structure

Cells = Sequence[Any] | None
"""The leaves of a final observation; None where it is not known, and has no row."""


def shortage_reason(error: SpoolFull) -> str:
    """What ends an episode that the spool has no room for."""
    return f"{type(error).__name__}: {error}"[:80] if isinstance(error, TooManyFiles) else FULL


def cells_of(structure: Structure, value: Any) -> Cells:
    """The leaves of a final observation; None as well where it does not fit."""
    try:
        cells = None if value is None else list(structure.flatten(value))
        check_cells(cells or ())
    except SchemaMismatch:
        return None
    return cells


def put_finals(
    writer: StreamWriter, row: int, slots: Sequence[int], finals: Sequence[Cells], now: int
) -> int:
    """Write final rows from a row on; returns the row behind them.

    Raises:
        HeapFull: One has no room in the segment.
    """
    writer.need(sum(len(cell) for cells in finals for cell in cells or () if isinstance(cell, bytes)))
    columns = writer.segment.columns
    known = [(slot, cells) for slot, cells in zip(slots, finals, strict=True) if cells is not None]
    for at, (_, cells) in enumerate(known, row):
        _put_cells(writer, at, cells)
    end = row + len(known)
    columns["flags"][row:end] = IS_FINAL
    columns["slot"][row:end] = [slot for slot, _ in known]
    columns["time"][row:end] = now
    return end


def put_fitting(
    writer: StreamWriter, row: int, slots: Sequence[int], finals: Sequence[Cells], now: int
) -> list[Cells]:
    """The same where there is no other segment; returns the finals, None for those that have no room here."""
    kept: list[Cells] = []
    for slot, cells in zip(slots, finals, strict=True):
        try:
            row = put_finals(writer, row, (slot,), (cells,), now)
        except HeapFull:
            kept.append(None)
        else:
            kept.append(cells)
    return kept


def _put_cells(writer: StreamWriter, row: int, cells: Sequence[Any]) -> None:
    columns = writer.segment.columns
    for index, cell in enumerate(cells):
        name = f"o{index}"
        if not isinstance(cell, bytes):
            columns[name][row] = cell
        elif f"{name}_size" in columns:
            columns[name][row] = writer.put_bytes(cell)
            columns[f"{name}_size"][row] = len(cell)
