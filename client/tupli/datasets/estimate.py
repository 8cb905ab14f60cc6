"""What a dataset takes in memory, before it is fetched, and how many rows are made room for at once."""

from typing import Final

from tupli_schemas.steps import StepSchema

ROW_OVERHEAD: Final = 96
"""Bytes of a loaded row beside its leaves: flags, places, and a small info."""
OPAQUE_BYTES: Final = 64
"""What a cell of bytes is taken for."""

MAX_ROOM_ROWS: Final = 65_536
MAX_ROOM_BYTES: Final = 64 * 1024 * 1024

_UNITS: Final = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def loaded_bytes(schema: StepSchema) -> int:
    """Bytes of a row that `load` fetches: observation and next observation, action, and the rest."""
    return ROW_OVERHEAD + 2 * _group_bytes(schema, "observation") + _group_bytes(schema, "action")


def room_rows(schema: StepSchema) -> int:
    """How many rows room is made for before anybody knows how many come: `MAX_ROOM_ROWS`, fewer where they are wide."""
    row = loaded_bytes(schema) + _group_bytes(schema, "extra")
    return max(min(MAX_ROOM_ROWS, MAX_ROOM_BYTES // row), 1)


def size_text(size: int) -> str:
    """Bytes for people: `1.0 kB`, `24.0 GB`."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size} bytes"


def _group_bytes(schema: StepSchema, group: str) -> int:
    cells = (leaf.cell for leaf in schema.leaves(group))
    return sum(cell.size * cell.dtype.itemsize if cell.is_numeric else OPAQUE_BYTES for cell in cells)
