"""Cells of records, read as the client reads those of an answer."""

from typing import Any

import numpy.typing as npt
import pyarrow as pa

from tupli.datasets.buffers import numbers
from tupli_schemas.steps import Cell


def cells_of(column: pa.Array, cell: Cell) -> npt.NDArray[Any]:
    """The rows of a numeric column as an array of shape `(n, *cell.shape)`: records have lists of a fixed size."""
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    return numbers(column, cell)
