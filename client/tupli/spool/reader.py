"""The reading side of a stream's spool: from mapped rows to numbered events.

Numbers come from walking the segments in their order (control records before the row they stand at, then rows), so
they are the same however often a stream is read and wherever it is cut. Rows of a slot without an open episode are
skipped: they are no transitions (the ignored step of a next-step autoreset, a paused recording).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tupli.spool import control
from tupli.spool.batches import build_batch, numbers, row_sizes
from tupli.spool.control import Control, Kind, Seal
from tupli.spool.layout import IS_FINAL, TERMINATED, TRUNCATED
from tupli.spool.manifest import Manifest, SlotState, StreamState
from tupli.spool.segment import Segment
from tupli_schemas.digest import EpisodeDigest
from tupli_schemas.events import (
    MAX_RECORD_BYTES,
    EpisodeAmended,
    EpisodeEnded,
    EpisodeStarted,
    Event,
    StepsRecorded,
    encode_rows,
)
from tupli_schemas.steps import StepSchema

DIGEST_ROWS: Final = 512
DIGEST_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event, and how far its segment is read once it is delivered."""

    event: Event
    rows: int
    control: int


class _Slot:
    """What is known of one slot while reading."""

    __slots__ = ("_pieces", "_rows", "digest", "episode", "has_final", "return_", "steps")

    def __init__(self, state: SlotState) -> None:
        self.episode = state.episode
        self.steps = state.steps
        self.return_ = state.return_
        self.has_final = False
        self.digest: EpisodeDigest | None = None  # unknown for an episode that began in an unlinked segment
        self._pieces: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, piece: pa.RecordBatch) -> None:
        """Add a few rows of many slots' to the digest, some pieces at once: an update has a price of its own."""
        if self.digest is None:
            return
        self._pieces.append(piece)
        self._rows += piece.num_rows
        if self._rows >= DIGEST_ROWS or self._rows * (piece.nbytes // piece.num_rows) >= DIGEST_BYTES:
            self.settle()

    def settle(self) -> None:
        """Bring the digest up to the last row."""
        if self.digest is not None:
            for batch in (
                pa.Table.from_batches(self._pieces).combine_chunks().to_batches() if self._pieces else ()
            ):
                self.digest.update(batch)
        self._pieces, self._rows = [], 0


class StreamReader:
    """Walks the segments of one stream, in order.

    Attributes:
        next_number: The number that the next item of the stream gets.
        rows: Rows of the current segment that were read. control: its control bytes that were read.
    """

    def __init__(self, manifest: Manifest, state: StreamState) -> None:
        self._manifest = manifest
        self._stream = manifest.stream_id
        self._slots = [_Slot(slot) for slot in state.slots]
        self._schemas: dict[int, StepSchema] = {}
        self.next_number = state.next_number
        self.rows = self.control = self._phase = 0
        self.record_bytes = MAX_RECORD_BYTES
        self.manifest: Callable[[], Manifest] = lambda: self._manifest

    def state(self, segment: int) -> StreamState:
        """Where the numbers stand, at the beginning of this segment."""
        slots = tuple(SlotState(slot.episode, slot.steps, slot.return_) for slot in self._slots)
        return StreamState(segment, self.next_number, slots)

    def next_segment(self) -> None:
        """The current segment was read to its end."""
        self.rows = self.control = self._phase = 0

    def pending(self, segment: Segment) -> int:
        """Rows that are published and not read yet."""
        return segment.published()[0] - self.rows

    def open_episodes(self) -> dict[int, tuple[int, int]]:
        """Slot: (episode, steps), of the slots with an open episode."""
        return {i: (slot.episode, slot.steps) for i, slot in enumerate(self._slots) if slot.episode}

    def read(self, segment: Segment, to_rows: int, to_control: int) -> Iterator[Outgoing]:
        """The events between what was read and these positions of the segment."""
        for record in list(control.decode(segment.control, self.control, to_control)):
            yield from self._read_rows(segment, min(record.row, to_rows))
            yield from self._read_control(segment, record)
        yield from self._read_rows(segment, to_rows)

    def _read_control(self, segment: Segment, record: Control) -> Iterator[Outgoing]:
        self.control = record.at + record.size
        slot = self._slots[record.slot]
        event: Event
        if record.kind is Kind.START:
            slot.episode, slot.steps, slot.return_, slot.has_final = record.episode, 0, 0.0, False
            slot.digest = EpisodeDigest(segment.shape.layout)
            event = self._started(segment, record)
        elif record.kind is Kind.END:
            event = self._ended(segment, record, slot)
            slot.episode = 0
            slot.digest = None
        else:
            event = EpisodeAmended(
                stream=self._stream,
                first=self.next_number,
                episode=record.episode,
                metadata=record.payload.get("metadata"),
                discarded=bool(record.flags & control.DISCARDED),
            )
        self.next_number += 1
        yield Outgoing(event, self.rows, self.control)

    def _started(self, segment: Segment, record: Control) -> EpisodeStarted:
        manifest = self.manifest()
        given = record.payload
        return EpisodeStarted(
            stream=self._stream,
            first=self.next_number,
            episode=record.episode,
            benchmark=manifest.benchmark.ref,
            step_schema=self._schema(segment),
            started_at=record.time,
            slot=record.slot,
            seed=given.get("seed"),
            options=given.get("options"),
            reset_info=given.get("reset_info"),
            run=manifest.run,
            policy=manifest.policy,
            environment=manifest.environment,
            versions=manifest.versions,
            metadata=given.get("metadata", {}),
            publish_in=manifest.publish_in,
        )

    def _ended(self, segment: Segment, record: Control, slot: _Slot) -> EpisodeEnded:
        seal = control.read_seal(segment.control, record.seal)
        slot.settle()
        if seal is None:
            digest = slot.digest.hexdigest() if slot.digest is not None else ""
            seal = Seal(slot.steps, slot.return_, digest)
            control.write_seal(segment.control, record.seal, seal)
        return EpisodeEnded(
            stream=self._stream,
            first=self.next_number,
            episode=record.episode,
            n_steps=seal.n_steps,
            ended_at=record.time,
            terminated=bool(record.flags & TERMINATED),
            truncated=bool(record.flags & TRUNCATED),
            aborted=bool(record.flags & control.ABORTED),
            reason=str(record.payload.get("reason", "")),
            return_=seal.return_ if np.isfinite(seal.return_) else None,
            has_final=not record.flags & control.NO_FINAL,
            metadata=record.payload.get("metadata"),
            digest=seal.digest,
            discarded=bool(record.flags & control.DISCARDED),
        )

    def _read_rows(self, segment: Segment, stop: int) -> Iterator[Outgoing]:
        """Events of the rows up to `stop`; no episode begins or ends between them."""
        while self.rows < stop:
            start = self.rows
            count = min(stop - start, 65_536)
            sizes = np.cumsum(row_sizes(segment, slice(start, start + count)))
            end = start + max(int(np.searchsorted(sizes, self.record_bytes)), 1)
            end = min(end, start + count)
            event = self._steps(segment, start, end)
            self.rows = end
            if event is not None:
                yield Outgoing(event, end, self.control)

    def _steps(self, segment: Segment, start: int, end: int) -> StepsRecorded | None:
        flags = segment.columns["flags"][start:end]
        is_final = flags & IS_FINAL != 0
        slots = self._slots_of(segment, start, end, is_final)
        if slots is None:
            if not self._slots[0].episode:
                return None
            rows: slice | npt.NDArray[Any] = slice(start, end)
            steps, episodes = self._count_one(self._slots[0], is_final, segment.columns["reward"][start:end])
        else:
            # One more than there are: final rows of that slot are fillers.
            open_ = np.array([*(slot.episode > 0 for slot in self._slots), False])[slots]
            if not open_.any():
                return None
            rows = np.flatnonzero(open_) + start
            slots, is_final = slots[open_], is_final[open_]
            steps, episodes = self._count_many(slots, is_final, segment.columns["reward"][rows])
        batch = build_batch(segment, rows, episodes, steps)
        self._digest(batch, slots)
        first = self.next_number
        self.next_number += batch.num_rows
        return StepsRecorded(
            stream=self._stream,
            first=first,
            last=self.next_number - 1,
            layout=segment.shape.layout.text,
            body=encode_rows(batch),
        )

    def _slots_of(
        self, segment: Segment, start: int, end: int, is_final: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.int64] | None:
        """The slot of each row; None when there is only one.

        Blocks begin at row 0 and follow each other, but for final rows, which name their slot.
        """
        count = len(self._slots)
        if count == 1:
            return None
        block_rows = np.cumsum(~is_final)
        slots = (self._phase + block_rows - 1) % count
        self._phase = int(self._phase + block_rows[-1]) % count
        slots[is_final] = segment.columns["slot"][start:end][is_final]
        return slots

    def _count_one(
        self, slot: _Slot, is_final: npt.NDArray[np.bool_], rewards: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
        n = len(is_final)
        steps = np.arange(slot.steps, slot.steps + n, dtype=np.uint64)
        n_real = n - int(np.count_nonzero(is_final))
        slot.return_ = _sum_in_order(slot.return_, rewards[:n_real])
        slot.steps += n_real
        return steps, np.full(n, slot.episode, np.uint32)

    def _count_many(
        self,
        slots: npt.NDArray[np.int64],
        is_final: npt.NDArray[np.bool_],
        rewards: npt.NDArray[np.float64],
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
        order = np.argsort(slots, kind="stable")
        present, starts, counts = np.unique(slots[order], return_index=True, return_counts=True)
        steps = np.empty(len(slots), np.uint64)
        episodes = np.empty(len(slots), np.uint32)
        for number, at, count in zip(present, starts, counts, strict=True):
            mine = order[at : at + count]
            slot = self._slots[int(number)]
            steps[mine], episodes[mine] = self._count_one(slot, is_final[mine], rewards[mine])
        return steps, episodes

    def _digest(self, batch: Any, slots: npt.NDArray[np.int64] | None) -> None:
        if slots is None:
            digest = self._slots[0].digest
            if digest is not None:
                digest.update(batch)
            return
        order = np.argsort(slots, kind="stable")
        grouped = batch.take(numbers(order, pa.int64()))
        present, starts, counts = np.unique(slots[order], return_index=True, return_counts=True)
        for number, at, count in zip(present, starts, counts, strict=True):
            self._slots[int(number)].add(grouped.slice(int(at), int(count)))

    def _schema(self, segment: Segment) -> StepSchema:
        if segment.number not in self._schemas:
            self._schemas = {segment.number: StepSchema.from_json(segment.meta["step_schema"])}
        return self._schemas[segment.number]


def _sum_in_order(start: float, values: npt.NDArray[np.float64]) -> float:
    """The float64 sum, one after the other: it does not depend on how the steps were cut."""
    if not len(values):
        return start
    with np.errstate(all="ignore"):
        return float(np.add.accumulate(np.concatenate(([start], values)))[-1])
