"""Infos that are decoded when somebody looks at them."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tupli_schemas.values import decode


class Infos(Sequence[Any]):
    """The infos of n rows, held as the bytes they are stored in; decoded anew at every look.

    A slice, an array of indices or a boolean mask gives `Infos` again.
    """

    def __init__(self, rows: pa.ChunkedArray) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> "Infos": ...
    @overload
    def __getitem__(self, index: npt.NDArray[Any]) -> "Infos": ...
    def __getitem__(self, index: int | slice | npt.NDArray[Any]) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return Infos(self._rows.slice(start, max(stop - start, 0)))
            return Infos(self._rows.take(pa.array(np.arange(start, stop, step))))
        if isinstance(index, np.ndarray):
            rows = np.flatnonzero(index) if index.dtype == np.bool_ else index
            return Infos(self._rows.take(pa.array(rows)))
        return decode(self._rows[int(index)].as_py())

    def __iter__(self) -> Iterator[Any]:
        for chunk in self._rows.chunks:
            for row in chunk:
                yield decode(row.as_py())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[np.object_]:  # noqa: FBT001 - NumPy's protocol
        out = np.empty(len(self), object)
        for index, info in enumerate(self):
            out[index] = info
        return out

    @staticmethod
    def joined(parts: "Sequence[Infos]") -> "Infos":
        """One after the other."""
        return Infos(pa.chunked_array([chunk for part in parts for chunk in part.raw().chunks], pa.binary()))

    def raw(self) -> pa.ChunkedArray:
        """The canonical bytes."""
        return self._rows

    def __repr__(self) -> str:
        return f"<Infos of {len(self)} steps>"
