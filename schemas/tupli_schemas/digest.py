"""An episode's content digest: XXH3-128, the same however its rows were cut, here and from a store or an export.

Rows fall into chunks of 1,024 step indices. In a chunk each column has a digest of its own: of its cells as
little-endian bytes, and for columns of bytes of their lengths (u64) too. The episode's digest is that of the
layout's text, then of each column's digest over its name and its chunk digests. The final row counts; the
ordinal of the episode does not, so that a copy has the digest of the original.

It finds accidents. What must resist people uses SHA-256.
"""

from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.steps import STEP_FIELDS, Layout

CHUNK_STEPS: Final = 1_024
DIGEST_BYTES: Final = 16
_LEFT_OUT: Final = frozenset(("episode",))


class EpisodeDigest:
    """The digest of one episode's rows, which come in the order of their steps."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        names = [item.name for item in STEP_FIELDS if item.name not in _LEFT_OUT]
        names += [name for name, _ in layout.columns]
        self._types = {name: layout.arrow_schema.field(name).type for name in names}
        self._done: dict[str, list[bytes]] = {name: [] for name in names}
        self._open: dict[str, tuple[xxhash.xxh3_128, xxhash.xxh3_128]] = {}
        self._next_step = 0
        self._chunk = 0

    @staticmethod
    def resume(layout: Layout, state: bytes) -> "EpisodeDigest":
        """Go on from a `state`: the next row is step `next_step`.

        Raises:
            SchemaMismatch: The state is not of this layout.
        """
        digest = EpisodeDigest(layout)
        row = DIGEST_BYTES * len(digest._done)
        if len(state) % row:
            raise SchemaMismatch(f"a state of {len(state)} bytes does not fit {layout.text!r}")
        for start in range(0, len(state), row):
            for i, chunks in enumerate(digest._done.values()):
                at = start + i * DIGEST_BYTES
                chunks.append(state[at : at + DIGEST_BYTES])
        digest._chunk = len(state) // row
        digest._next_step = digest._chunk * CHUNK_STEPS
        return digest

    @property
    def next_step(self) -> int:
        """The step index that must come next."""
        return self._next_step

    def state(self) -> bytes:
        """The chunks that are complete, for `resume`; rows from step `CHUNK_STEPS * chunks` on come again then."""
        return b"".join(b"".join(of_chunk) for of_chunk in zip(*self._done.values(), strict=True))

    def update(self, batch: pa.RecordBatch) -> None:
        """Add rows of the episode (columns may be in any order, and more than the layout's).

        Raises:
            SchemaMismatch: A column is missing or of another type, or steps do not go on from `next_step` one by one.
        """
        if batch.num_rows == 0:
            return
        columns = {name: self._column(batch, name) for name in self._types}
        steps = _numbers(columns["step"])
        if not np.array_equal(
            steps, np.arange(self._next_step, self._next_step + len(steps), dtype=np.uint64)
        ):
            raise SchemaMismatch(f"steps do not go on from {self._next_step} one by one", place="step")
        chunks = steps // CHUNK_STEPS
        cuts = [0, *(np.flatnonzero(np.diff(chunks)) + 1).tolist(), len(steps)]
        for start, end in pairwise(cuts):
            self._move_to(int(chunks[start]))
            for name, column in columns.items():
                self._feed(name, column.slice(start, end - start))
        self._next_step = int(steps[-1]) + 1

    def hexdigest(self) -> str:
        """The digest of what came so far, as 32 hexadecimal digits. More rows may follow."""
        total = xxhash.xxh3_128(self._layout.text.encode())
        for name, chunks in self._done.items():
            column = xxhash.xxh3_128(name.encode())
            column.update(b"".join(chunks))
            if name in self._open:
                column.update(_close(self._open[name]))
            total.update(column.digest())
        return total.hexdigest()

    def _column(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        index = batch.schema.get_field_index(name)
        if index < 0:
            raise SchemaMismatch("is missing", place=name)
        column, wanted = batch.column(index), self._types[name]
        if column.type != wanted or column.null_count:
            raise SchemaMismatch(f"{column.type} where {wanted} without nulls belongs", place=name)
        return column

    def _move_to(self, chunk: int) -> None:
        """Close the chunk that is complete, if rows now go to the next."""
        if chunk > self._chunk:
            for name, chunks in self._done.items():
                chunks.append(_close(self._open.pop(name)))
            self._chunk = chunk

    def _feed(self, name: str, column: pa.Array) -> None:
        lengths, data = self._open.setdefault(name, (xxhash.xxh3_128(), xxhash.xxh3_128()))
        if pa.types.is_binary(column.type):
            offsets = np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, 4 * column.offset)
            lengths.update(np.ascontiguousarray(np.diff(offsets), "<u8").data)
            if column.buffers()[2] is not None:
                data.update(memoryview(column.buffers()[2])[offsets[0] : offsets[-1]])
        else:
            data.update(_little_endian(column).data)


def _close(pair: tuple[xxhash.xxh3_128, xxhash.xxh3_128]) -> bytes:
    """The digest of one column's chunk."""
    lengths, data = pair
    return xxhash.xxh3_128_digest(lengths.digest() + data.digest())


def _little_endian(column: pa.Array) -> npt.NDArray[np.generic]:
    values = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
    array = _numbers(values)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _numbers(column: pa.Array) -> npt.NDArray[Any]:
    """A column of numbers without nulls. Not `to_numpy`, which imports pandas where it is installed: seconds."""
    dtype = np.dtype(column.type.to_pandas_dtype())
    return np.frombuffer(column.buffers()[1] or b"", dtype, len(column), column.offset * dtype.itemsize)
