"""The frames of a dataset's answer, as a state machine: pages and chunks go in, frames come out.

    QUERY_HEADER {"type": "dataset", ...}   once
    QUERY_HEADER {"type": "page", ...}      before the rows of some episodes; may be larger than a frame
    ARROW                                   chunks as the engine wrote them
    CLOSE {"rows", "checksum", "cursor"}    rows of all ARROW frames, XXH3-64 over their checksums; or PROBLEM

A chunk is decoded only where it has to be cut: above the size of a frame, or behind a limit.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson
import pyarrow as pa
import xxhash

from tupli_query.core.reader import Chunk
from tupli_schemas.framing import MAX_FRAME_BYTES, Kind, checksum_bytes, frame_parts, message_parts
from tupli_schemas.problems import Problem

MATCH: Final = "is_match"

Parts = Sequence[bytes | memoryview]
"""Byte strings that belong one behind the other."""


class FrameStream:
    """Frames of one answer.

    Args:
        limit: Tuples at most; None for all.
        pairs: Whether the row behind a tuple comes with it, as its next observation.
    """

    def __init__(self, *, limit: int | None = None, pairs: bool = False) -> None:
        self._left = limit
        self._pairs = pairs
        self._checksum = xxhash.xxh3_64()
        self.rows = 0

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached, and no next observation is due any more."""
        return self._left is not None and self._left < 0

    @property
    def left(self) -> int | None:
        """Tuples that are still to come; None for all."""
        return None if self._left is None else max(self._left, 0)

    def head(self, members: dict[str, Any]) -> Parts:
        """The first frame."""
        return frame_parts(Kind.QUERY_HEADER, orjson.dumps({"type": "dataset"} | members))

    def page(self, members: dict[str, Any]) -> Parts:
        """The frame before the rows of a page; frames, where the header of an episode is larger than one."""
        return message_parts(Kind.QUERY_HEADER, orjson.dumps({"type": "page"} | members))

    def chunk(self, chunk: Chunk) -> Iterator[Parts]:
        """The frames of a chunk; nothing once the stream is full."""
        if self._left is not None:
            cut = self._within_limit(chunk)
            if cut is None:
                return
            chunk = cut
        if len(chunk.data) <= MAX_FRAME_BYTES:
            yield self._frame(chunk.data, chunk.rows)
            return
        for batch in _halved(_table(chunk.data)):
            yield self._frame(_stream_of(batch), batch.num_rows)

    def page_over(self) -> None:
        """No next row of this page is due any more."""
        if self._left == 0:
            self._left = -1

    def close(self, cursor: Any = None) -> Parts:
        """The last frame; `cursor` is where the dataset goes on."""
        members = {"rows": self.rows, "checksum": self._checksum.hexdigest(), "cursor": cursor}
        return frame_parts(Kind.CLOSE, orjson.dumps(members))

    def problem(self, problem: Problem) -> Parts:
        """The last frame, when it went wrong."""
        return frame_parts(Kind.PROBLEM, orjson.dumps(problem.to_json()))

    def _frame(self, data: bytes | memoryview, rows: int) -> Parts:
        parts = frame_parts(Kind.ARROW, data)
        self._checksum.update(checksum_bytes(parts[0]))
        self.rows += rows
        return parts

    def _within_limit(self, chunk: Chunk) -> Chunk | None:
        """The chunk up to the row that the limit allows, and that row's next one; None when nothing is left."""
        if self._left is None or self._left < 0:
            return None
        table = _table(chunk.data)
        taken = table.column(MATCH).to_numpy().cumsum()
        keep = int((taken <= self._left).sum())
        if keep == len(taken):
            self._left -= int(taken[-1])
            if self._left == 0 and not self._pairs:
                self._left = -1
            return chunk
        self._left = -1
        kept = table.slice(0, keep)
        if (
            self._pairs
        ):  # the row behind the last tuple: its next observation, if it is that, and not a tuple itself
            kept = pa.concat_tables([kept, _unmatched(table.slice(keep, 1))])
        return Chunk(_stream_of(kept), len(kept)) if len(kept) else None


def _unmatched(table: pa.Table) -> pa.Table:
    index = table.schema.get_field_index(MATCH)
    field = table.schema.field(index)
    return table.set_column(index, field, pa.array([0] * len(table), field.type))


def _table(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()


def _halved(table: pa.Table) -> Iterator[pa.Table]:
    """Parts that fit into a frame. One row always does: it came in as an event of a smaller limit."""
    if table.nbytes < MAX_FRAME_BYTES // 2 or table.num_rows == 1:
        yield table
        return
    half = table.num_rows // 2
    yield from _halved(table.slice(0, half))
    yield from _halved(table.slice(half))


def _stream_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.combine_chunks().to_batches():
            writer.write_batch(batch)
    return bytes(sink.getvalue())
