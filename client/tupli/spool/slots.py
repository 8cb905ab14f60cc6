"""The slots of a stream while it is read: which episode each has open, how far it is, and its digest."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tupli.spool.layout import IS_FINAL
from tupli.spool.manifest import SlotState
from tupli_schemas.digest import Cells, EpisodeDigest, cells_of
from tupli_schemas.steps import Layout

DIGEST_ROWS: Final = 256
"""Rows of each slot that are collected for its digest: an update has a price of its own."""
DIGEST_BYTES: Final = 8 << 20
"""And bytes of all slots."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows that belong to open episodes. `slots` is None in a stream of one slot.

    `rows` are places in the segment; `episodes` their ordinals, `steps` their indices, `slots` their
    slots, shape (n,).
    """

    rows: slice | npt.NDArray[np.int64]
    episodes: npt.NDArray[np.uint32]
    steps: npt.NDArray[np.uint64]
    slots: npt.NDArray[np.int64] | None


class Slots:
    """What is known of each slot.

    Attributes:
        episodes: Ordinal of the open episode, 0 for none, shape (slots,). steps: its steps. returns: its
            return.
    """

    def __init__(self, states: tuple[SlotState, ...]) -> None:
        self.count = len(states)
        self.episodes = np.array([state.episode for state in states], np.uint32)
        self.steps = np.array([state.steps for state in states], np.uint64)
        self.returns = np.array([state.return_ for state in states], np.float64)
        self._digests: list[EpisodeDigest | None] = [None] * self.count
        """None where it is not known: of an episode that began in an unlinked segment."""
        self._phase = 0
        self._is_digesting = False
        self._waiting = _Waiting(self.count)

    def states(self) -> tuple[SlotState, ...]:
        """The slots' states, for the manifest."""
        values = zip(self.episodes.tolist(), self.steps.tolist(), self.returns.tolist(), strict=True)
        return tuple(SlotState(*value) for value in values)

    def saved(self) -> Any:
        """What `restore` goes back to."""
        arrays = self.episodes.copy(), self.steps.copy(), self.returns.copy()
        return *arrays, self._phase, self._digests.copy()

    def restore(self, saved: Any) -> None:
        """Forget what was counted since `saved`; digests that were left half-way are known no more."""
        self.episodes, self.steps, self.returns, self._phase, self._digests = saved
        if self._is_digesting:
            self._is_digesting = False
            self._digests = [None] * self.count
            self._waiting.clear()

    def next_segment(self) -> None:
        """Blocks begin at row 0 of a segment."""
        self._phase = 0

    def begin(self, slot: int, episode: int, layout: Layout) -> None:
        """An episode begins."""
        self._waiting.skip(slot)
        self.episodes[slot], self.steps[slot], self.returns[slot] = episode, 0, 0.0
        self._digests[slot] = EpisodeDigest(layout)

    def end(self, slot: int) -> tuple[int, float, str]:
        """The slot's episode is over: its steps, its return, and its digest (empty where it is not known)."""
        self._is_digesting = True
        self._settle(slot)
        self._is_digesting = False
        digest, self._digests[slot] = self._digests[slot], None
        self.episodes[slot] = 0
        told = digest.hexdigest() if digest is not None else ""
        return int(self.steps[slot]), float(self.returns[slot]), told

    def count_rows(
        self, start: int, flags: npt.NDArray[np.uint8], rewards: npt.NDArray[np.float64], of: npt.NDArray[Any]
    ) -> Counted | None:
        """Count rows of a segment; None when none of them belongs to an open episode.

        Args:
            start: The first row's place.
            flags: Their flags, shape (n,).
            rewards: Their rewards, shape (n,).
            of: The slots that final rows name, shape (n,); one more than there are for fillers.
        """
        is_final = flags & IS_FINAL != 0
        return (
            self._count_one(start, is_final, rewards)
            if self.count == 1
            else self._count_many(start, is_final, rewards, of)
        )

    def digest(self, columns: dict[str, Cells], body: bytes, counted: Counted, layout: Layout) -> None:
        """Bring the digests up to these rows, now or later; `body` are their bytes as they are sent."""
        self._is_digesting = True
        self._digest(columns, body, counted, layout)
        self._is_digesting = False

    def _digest(self, columns: dict[str, Cells], body: bytes, counted: Counted, layout: Layout) -> None:
        if counted.slots is None:
            digest = self._digests[0]
            if digest is not None:
                digest.add(columns, 0, len(counted.steps))
            return
        # What waits refers to these bytes, not to the segment: that may be unlinked meanwhile.
        batch = pa.ipc.open_stream(pa.py_buffer(body)).read_next_batch()
        if self._waiting.layout != layout:
            self._settle_all()
        self._waiting.add(batch, counted.slots, layout)
        if self._waiting.is_enough:
            self._settle_all()

    def _settle_all(self) -> None:
        for slot, cells, first, last in self._waiting.take_all():
            digest = self._digests[slot]
            if digest is not None:
                digest.add(cells, first, last)

    def _settle(self, slot: int) -> None:
        if self._waiting.taken_before:  # slots that end together
            self._settle_all()
            return
        digest = self._digests[slot]
        cells, rows = self._waiting.take(slot)
        if digest is not None and rows:
            digest.add(cells, 0, rows)

    def _count_one(
        self, start: int, is_final: npt.NDArray[np.bool_], rewards: npt.NDArray[np.float64]
    ) -> Counted | None:
        if not self.episodes[0]:
            return None
        rows, first = len(is_final), int(self.steps[0])
        transitions = rows - int(np.count_nonzero(is_final))
        self.returns[0] = sum_in_order(float(self.returns[0]), rewards[:transitions])
        self.steps[0] += np.uint64(transitions)
        steps = np.arange(first, first + rows, dtype=np.uint64)
        return Counted(slice(start, start + rows), np.full(rows, self.episodes[0]), steps, None)

    def _count_many(
        self,
        start: int,
        is_final: npt.NDArray[np.bool_],
        rewards: npt.NDArray[np.float64],
        of: npt.NDArray[Any],
    ) -> Counted | None:
        """Blocks follow each other row by row, slot by slot; final rows stand between them and name their slot."""
        in_block = np.cumsum(~is_final) + (self._phase - 1)
        slots = np.where(is_final, of, in_block % self.count).astype(np.int64)
        # How many rows of its own slot a row has before it here. The slots below the phase had theirs of
        # this block.
        rank = in_block // self.count - (slots < self._phase)
        if is_final.any():
            rank += is_final & (slots <= in_block % self.count)
        self._phase = int(in_block[-1] + 1) % self.count
        is_open = np.append(self.episodes > 0, False)[slots]  # fillers name one slot more than there are
        if not is_open.any():
            return None
        whole = bool(is_open.all())
        rows = slice(start, start + len(slots)) if whole else np.flatnonzero(is_open) + start
        if not whole:
            slots, rank, is_final, rewards = (
                slots[is_open],
                rank[is_open],
                is_final[is_open],
                rewards[is_open],
            )
        steps = self.steps[slots] + rank.astype(np.uint64)
        real = ~is_final
        with np.errstate(all="ignore"):
            np.add.at(self.returns, slots[real], rewards[real])
        self.steps += np.bincount(slots[real], minlength=self.count).astype(np.uint64)
        return Counted(rows, self.episodes[slots], steps, slots)


class _Waiting:
    """Rows of many slots whose digests are not brought up to date yet."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self.layout = Layout((), ())
        self.clear()

    def clear(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._of: list[npt.NDArray[np.int64]] = []
        self._rows = self._bytes = 0
        self.taken_before = False
        """Whether a slot's rows were taken, and none were added since."""
        self._taken = np.zeros(self._slots, np.int64)
        """Of each slot, rows before this one were taken already."""

    def add(self, batch: pa.RecordBatch, slots: npt.NDArray[np.int64], layout: Layout) -> None:
        self.layout = layout
        self.taken_before = False
        self._batches.append(batch)
        self._of.append(slots)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes

    @property
    def is_enough(self) -> bool:
        return self._rows >= DIGEST_ROWS * self._slots or self._bytes >= DIGEST_BYTES

    def skip(self, slot: int) -> None:
        """What waits of this slot is of no episode that is still open."""
        self._taken[slot] = self._rows

    def take(self, slot: int) -> tuple[dict[str, Cells], int]:
        """The rows of one slot."""
        if not self._rows:
            return {}, 0
        wanted = np.flatnonzero(np.concatenate(self._of) == slot)
        wanted = wanted[wanted >= self._taken[slot]]
        self.skip(slot)
        self.taken_before = True
        return (self._cells(wanted), len(wanted)) if len(wanted) else ({}, 0)

    def take_all(self) -> list[tuple[int, dict[str, Cells], int, int]]:
        """Slot, columns, and from which to which row of them, of all slots."""
        if not self._rows:
            return []
        of = np.concatenate(self._of)
        order = np.argsort(of, kind="stable")
        order = order[order >= self._taken[of[order]]]
        if not len(order):
            self.clear()
            return []
        cells = self._cells(order)
        self.clear()
        present, starts = np.unique(of[order], return_index=True)
        ends = [*starts[1:].tolist(), len(order)]
        return [
            (slot, cells, start, end)
            for slot, start, end in zip(present.tolist(), starts.tolist(), ends, strict=True)
        ]

    def _cells(self, order: npt.NDArray[np.int64]) -> dict[str, Cells]:
        indices = pa.Array.from_buffers(pa.int64(), len(order), [None, pa.py_buffer(order)], null_count=0)
        if len(self._batches) > 1:  # `take` would put them together each time
            self._batches = pa.Table.from_batches(self._batches).combine_chunks().to_batches()
        return cells_of(self._batches[0].take(indices), self.layout)


def sum_in_order(start: float, values: npt.NDArray[np.float64]) -> float:
    """The float64 sum, one after the other: it does not depend on how the steps were cut.

    Not `sum`, which from Python 3.12 on carries what is rounded away along.
    """
    if not len(values):
        return start
    with np.errstate(all="ignore"):
        return float(np.add.accumulate(np.concatenate(([start], values)))[-1])
