"""Exact casts between numeric dtypes: every value, NaN payload and sign comes back, or is refused."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tupli_schemas.errors import SchemaMismatch

_NUMBERS: Final = "biuf"
_FIRST_INEXACT: Final = 2.0**63
"""From here on a float may stand for an integer that the other dtype does not have."""


def exact_cast(array: npt.NDArray[Any], dtype: np.dtype[Any], place: str = "") -> npt.NDArray[Any]:
    """The array in another dtype.

    Raises:
        SchemaMismatch: Something in it would change.
    """
    if array.dtype.newbyteorder("=") == dtype:
        return array.astype(dtype)
    source, target = array.dtype.kind, dtype.kind
    if source in _NUMBERS and target in _NUMBERS + "c":
        with np.errstate(all="ignore"):
            out = array.astype(dtype)
            if _same(array, out):
                return out
    elif source == target == "c":
        with np.errstate(all="ignore"):
            out = array.astype(dtype)
            if out.astype(array.dtype).tobytes() == array.tobytes():
                return out
    raise SchemaMismatch(f"{array.dtype} does not fit {dtype} exactly", place=place)


def _same(array: npt.NDArray[Any], out: npt.NDArray[Any]) -> bool:
    if out.dtype.kind == "c":
        return _same(array, out.real)
    kinds = array.dtype.kind + out.dtype.kind
    if "f" in kinds and kinds != "ff":
        # Casting a float beyond the integers is undefined: refuse before looking at the outcome.
        floats = array if array.dtype.kind == "f" else out
        if not bool(np.all(np.abs(floats) < _FIRST_INEXACT)):
            return False
    elif kinds in ("iu", "ui") and bool(np.any(array < 0) or np.any(out < 0)):
        return False
    return out.astype(array.dtype).tobytes() == array.tobytes()
