"""The writing side of a stream's spool, used by the environment's thread (and by whoever closes a dead stream).

Rows come in blocks of as many rows as the stream has slots. The block's observations are in place before
anything that precedes them is published, so a killed run still has its last next observations: they are
at row `rows` of the segment, or at row 0 of the next one when this one is marked closed. Final rows
follow the block that ended their episodes. Everything becomes visible by one store of the published word.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from tupli.errors import SpoolFull
from tupli.spool import control
from tupli.spool.directory import NO_FILES, SpoolDirectory, TooManyFiles
from tupli.spool.layout import (
    END_RESERVE,
    HEAP_START,
    MAX_SEGMENT,
    MIN_SEGMENT,
    SegmentShape,
    pack_word,
    plan,
)
from tupli.spool.segment import Segment
from tupli_schemas.steps import Layout

MAX_HEAP: Final = 2**31
PREPARE_AT: Final = 0.125
"""How full the first segment is when the next one is made; by then it is known what infos take."""
_START_BYTES: Final = 512


class StreamWriter:
    """Appends rows and control records to a stream.

    Attributes:
        segment: The segment that is being written.
        row: Where the next block of rows goes.
        limit: A block may start at rows below it; else a `roll` comes first.
        control_at: Control bytes in use. heap_at: Heap bytes in use.
    """

    def __init__(self, directory: SpoolDirectory, path: Path, slots: int) -> None:
        self._directory = directory
        self._path = path
        self._lock = threading.Lock()  # between the environment's thread and the one that prepares segments
        self._spare: Segment | None = None
        """Made, and not written yet; it stays here until it is entered, so that an interruption loses none."""
        self._known = 0
        """The number of the last segment that is the stream's; a spare has the next one."""
        self._size = MIN_SEGMENT
        self._closing: list[tuple[Segment, int, int]] = []
        self._goal: tuple[int, Any] = (0, None)
        """The word that the last `publish` was to store, and what it was given."""
        self._dropped = False
        self._heap_per_row: float | None = None
        """Of the segment before; None in the first."""
        self.slots = slots
        self.on_segment: Callable[[Segment], None] = _ignore
        """Called with a segment before it is written; after an interruption perhaps again."""
        self.segment: Segment = _NO_SEGMENT
        self.row = self.limit = self.control_at = 0
        self.heap_at = HEAP_START
        self.largest_control = _START_BYTES

    @property
    def opened(self) -> bool:
        """Whether there is a segment to write to."""
        return self.segment is not _NO_SEGMENT

    def begin(self, layout: Layout, meta: dict[str, Any], *, wait: Callable[[], bool] = bool) -> None:
        """Go on in a new segment of this layout, whose rows are described by `meta`; `wait` as for `roll`.

        Raises:
            SpoolFull: There is no room.
        """
        self._go_on(layout, meta | {"layout": layout.text}, wait=wait)

    def roll(self, *, heap: int = 0, control_size: int = 0, wait: Callable[[], bool] = bool) -> None:
        """Go on in the next segment; the current one is closed at the next `publish`.

        Args:
            heap: Bytes of heap that it needs at least.
            control_size: Bytes of the largest control record that it needs to hold.
            wait: Called while there is no room; true means to try again.

        Raises:
            SpoolFull: There is no room.
        """
        self._go_on(
            self.segment.shape.layout, self.segment.meta, heap=heap, control_size=control_size, wait=wait
        )

    def prepare(self) -> None:
        """Make the next segment ahead of need (background thread).

        Raises:
            SpoolFull: There is no room.
        """
        segment = self.segment
        if segment is _NO_SEGMENT or (self._heap_per_row is None and self._used() < PREPARE_AT):
            return
        with self._lock:
            if self._spare is None and not self._dropped:
                self._spare = self._create(segment.shape.layout, segment.meta, 0)

    def need(self, size: int) -> None:
        """See that the heap has room for all bytes of what is written next, before its first is.

        Raises:
            HeapFull: It has not.
        """
        if self.heap_at + size > self.segment.shape.heap:
            raise HeapFull(size)

    def put_bytes(self, raw: bytes) -> int:
        """Copy bytes into the heap; returns where they are.

        Raises:
            HeapFull: The segment's heap has no room for them.
        """
        at = self.heap_at
        end = at + len(raw)
        if end > self.segment.shape.heap:
            raise HeapFull(len(raw))
        self.segment.heap[at:end] = raw
        self.heap_at = end
        return at

    def has_control(self, size: int, *, reserve: int) -> bool:
        """Whether a control record of `size` bytes leaves room to close `reserve` episodes."""
        return self.control_at + size + reserve * END_RESERVE <= self.segment.shape.control

    def put_control(self, raw: bytes) -> int:
        """Append a control record; returns where it is. It is seen with the next `publish`."""
        at = self.control_at
        self.segment.control[at : at + len(raw)] = raw
        self.control_at = at + len(raw)
        self.largest_control = max(self.largest_control, len(raw))
        return at

    def publish(self, state: Any = None) -> None:
        """Make everything before `row` visible; what was rolled away from is closed, the newest first.

        Ctrl-C may come between any two lines: `rollback` says by the `state` given here whether this took
        place.
        """
        word = pack_word(self.row, self.control_at)
        self._goal = (word, state)
        self.segment.word[0] = word
        while self._closing:  # one by one, so that an interruption leaves what is not done in the list
            segment, closed, _ = self._closing[-1]
            segment.word[0] = closed
            self._closing.pop()

    def rollback(self) -> Any:
        """Forget what was not published. Segments that were begun meanwhile stay in the stream, empty.

        Returns:
            What the last `publish` was given, if that took place, or None: it may have been interrupted.
        """
        if self._closing and self._closing[0][0].word[0] == self._closing[0][1]:
            self._closing.clear()  # the oldest is closed last
        word, state = self._goal
        took_place = not self._closing and self.segment.word[0] == word
        if self._closing:
            segment, _, self.heap_at = self._closing[0]
            begun = [other for other, _, _ in self._closing[1:]] + [self.segment]
            self._closing.clear()
            self.segment = segment
            for other in begun:
                if other is not segment:
                    other.word[0] = pack_word(0, 0, closed=True)
        self.limit = self.segment.shape.rows - 2 * self.slots + 1
        if self._spare is not None and self._spare.number <= self._known:
            self._discard_spare()  # it was on its way in
        self.row, self.control_at, _ = self.segment.published()
        # Steps that end nothing write no flags: what an interrupted end left there would be theirs.
        self.segment.columns["flags"][self.row : self.row + 2 * self.slots + 1] = 0
        return state if took_place else None

    def finish(self) -> None:
        """Publish, and mark that nothing follows."""
        if self.opened and not self.segment.published()[2]:  # else this was interrupted behind it
            self.publish()
            self.segment.word[0] = pack_word(self.row, self.control_at, closed=True)
        self.drop_spare()

    def drop_spare(self) -> None:
        """Let go of the segment that was made ahead."""
        with self._lock:
            self._dropped = True
            self._discard_spare()

    def _go_on(
        self,
        layout: Layout,
        meta: dict[str, Any],
        *,
        heap: int = 0,
        control_size: int = 0,
        wait: Callable[[], bool],
    ) -> None:
        while True:
            try:
                with self._lock:
                    self._spare = segment = self._take(layout, meta, heap, control_size)
                break
            except SpoolFull:
                if not wait():
                    raise
        # Ctrl-C may come between any two of these lines. The reader knows a segment before it is written.
        self._known = segment.number
        self.on_segment(segment)
        if self.opened:
            word = pack_word(self.row, self.control_at, closed=True)
            self._closing.append((self.segment, word, self.heap_at))
        self._enter(segment)
        self._spare = None

    def _take(self, layout: Layout, meta: dict[str, Any], heap: int, control_size: int) -> Segment:
        """The segment that was made ahead, if it is of this layout and large enough; or a new one."""
        self.largest_control = max(self.largest_control, control_size)
        spare = self._spare
        if (
            spare is None
            or spare is self.segment
            or spare.meta is not meta
            or spare.shape.heap - HEAP_START < heap
            or spare.shape.control < self._control(spare)
        ):
            self._discard_spare()
            return self._create(layout, meta, heap)
        return spare

    def _create(self, layout: Layout, meta: dict[str, Any], heap: int) -> Segment:
        try:
            return self._create_of_size(layout, meta, heap)
        except TooManyFiles:
            raise
        except SpoolFull:
            if self._size == MIN_SEGMENT:
                raise
            self._size = MIN_SEGMENT  # where there is little room, small segments are free again sooner
            return self._create_of_size(layout, meta, heap)

    def _create_of_size(self, layout: Layout, meta: dict[str, Any], heap: int) -> Segment:
        shape = self._plan(layout, heap)
        size = shape.offsets(4096)[3]
        self._directory.make_room(size)
        path = self._path / f"{self._known + 1:08d}.seg"
        try:
            segment = Segment.create(path, shape, meta)
        except OSError as error:
            reason = TooManyFiles if error.errno in NO_FILES else SpoolFull
            raise reason(f"no segment of {size} bytes: {error.strerror}") from error
        segment.populate()  # takes long: interrupted, the next one takes its place under the same number
        self._size = min(2 * self._size, MAX_SEGMENT)
        return segment

    def _control(self, segment: Segment) -> int:
        """Control bytes that the largest record needs, with what is kept to close all episodes."""
        return self.largest_control + segment.shape.slots * END_RESERVE

    def _used(self) -> float:
        shape = self.segment.shape
        return max(self.row / max(shape.rows, 1), self.heap_at / max(shape.heap, 1))

    def _plan(self, layout: Layout, heap: int) -> SegmentShape:
        per_row = self._heap_per_row or 0.0
        if self.opened and self.row and (not per_row or self._used() >= PREPARE_AT):
            per_row = self.heap_at / self.row
        shape = plan(
            layout, self.slots, size=self._size, heap_per_row=per_row, start_bytes=self.largest_control
        )
        wanted = min(max(shape.heap, 2 * heap + HEAP_START), MAX_HEAP)
        return SegmentShape(shape.layout, shape.slots, shape.rows, shape.control, wanted)

    def _enter(self, segment: Segment) -> None:
        if self.opened and self.row:
            self._heap_per_row = self.heap_at / self.row
        self.segment = segment
        self.row = self.control_at = 0
        self.heap_at = HEAP_START
        self.limit = segment.shape.rows - 2 * self.slots + 1

    def _discard_spare(self) -> None:
        spare = self._spare
        if spare is not None and spare is not self.segment:
            if spare.number > self._known:
                spare.unlink()
            else:  # interrupted on its way in: it stays in the stream, empty
                self.on_segment(spare)
                spare.word[0] = pack_word(0, 0, closed=True)
        self._spare = None


class HeapFull(Exception):
    """The heap of the segment has no room for `size` bytes more."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class _NoSegment:
    """Stands for the segment before the first one."""

    shape = SegmentShape(Layout((), ()), 1, 0, 0, 0)
    meta: Final[dict[str, Any]] = {}
    word = np.zeros(1, np.uint64)


_NO_SEGMENT: Any = _NoSegment()


def _ignore(_: Segment) -> None:
    """Nobody listens."""


__all__ = ["HeapFull", "StreamWriter", "control"]
