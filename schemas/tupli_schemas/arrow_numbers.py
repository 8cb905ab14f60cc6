"""Numbers of Arrow arrays as NumPy arrays that share their memory.

Not Arrow's own `to_numpy`, which imports pandas where it is installed: seconds, in the middle of somebody's run.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def flat_numbers(array: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The values of an array of fixed width without nulls.

    Args:
        array: The array, of n values.
        dtype: What they are; of the same width.

    Returns:
        Shape (n,).
    """
    if not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype)[array.offset : array.offset + len(array)]


def list_offsets(array: pa.Array) -> npt.NDArray[np.int32]:
    """Where the values of an array of lists, texts or bytes begin, and where the last one ends.

    Args:
        array: The array, of n values, whose offsets have 32 bits.

    Returns:
        Shape (n + 1,).
    """
    if not len(array):
        return np.zeros(1, np.int32)
    return np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
