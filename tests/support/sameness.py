"""Equality as Tupli promises it: type, dtype, shape and every bit."""

import math
import struct
from typing import Any

import numpy as np


def same(one: Any, other: Any) -> bool:
    """Whether two values are of the same types and bits all the way down (sets and dict keys by equality)."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray | np.generic):
        return _same_arrays(np.asarray(one), np.asarray(other))
    if isinstance(one, float | complex):
        return _bits(one) == _bits(other)
    if isinstance(one, dict):
        return _same_dicts(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _bits(number: complex) -> bytes:
    return struct.pack("<dd", number.real, number.imag)


def _same_dicts(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    if len(one) != len(other):
        return False
    pairs = zip(one.items(), other.items(), strict=True)
    return all(same(a, c) and same(b, d) for (a, b), (c, d) in pairs)


def _same_arrays(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.hasobject:
        return all(map(same, one.ravel().tolist(), other.ravel().tolist()))
    if one.dtype.names:
        # Field by field: what lies between them is nobody's.
        return all(_same_arrays(one[name], other[name]) for name in one.dtype.names)
    return bool(one.tobytes() == other.tobytes())


def same_number(one: Any, other: Any) -> bool:
    """Whether two numbers are equal, NaN to NaN."""
    return bool(one == other or (math.isnan(one) and math.isnan(other)))
