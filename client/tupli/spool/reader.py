"""The reading side of a stream's spool: from mapped rows to numbered events.

Numbers come from walking the segments in their order (control records before the row they stand at, then
rows), so they are the same however often a stream is read and wherever it is cut. Rows of a slot without an
open episode are skipped: they are no transitions (the ignored step of a next-step autoreset, a paused
recording).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from tupli.spool import control
from tupli.spool.batches import batch_of, columns_of, rows_within
from tupli.spool.control import Control, Kind, Seal
from tupli.spool.layout import TERMINATED, TRUNCATED
from tupli.spool.manifest import Manifest, StreamState
from tupli.spool.segment import Segment
from tupli.spool.slots import Slots
from tupli_schemas.events import (
    MAX_RECORD_BYTES,
    EpisodeAmended,
    EpisodeEnded,
    EpisodeStarted,
    Event,
    StepsRecorded,
    encode_rows,
)
from tupli_schemas.ids import parse_id
from tupli_schemas.steps import StepSchema

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event, and how far its segment is read once it is delivered."""

    event: Event
    rows: int
    control: int


class StreamReader:
    """Walks the segments of one stream, in order.

    Attributes:
        next_number: The number that the next item of the stream gets.
        rows: Rows of the current segment that were read. control: its control bytes that were read.
        manifest: What episodes' starts have in common, as it is now.
    """

    def __init__(self, manifest: Manifest, state: StreamState) -> None:
        self.manifest = manifest
        self._stream = manifest.stream_id
        self._slots = Slots(state.slots)
        self._schemas: dict[int, StepSchema] = {}
        self.next_number = state.next_number
        self.rows = self.control = 0
        self.record_bytes = MAX_RECORD_BYTES

    def state(self, segment: int) -> StreamState:
        """Where the numbers stand, at the beginning of this segment."""
        return StreamState(segment, self.next_number, self._slots.states())

    def next_segment(self) -> None:
        """The current segment was read to its end."""
        self.rows = self.control = 0
        self._slots.next_segment()

    def read(self, segment: Segment, to_rows: int, to_control: int) -> Iterator[Outgoing]:
        """The events between what was read and these positions of the segment.

        What raises (there may be no memory) leaves the reader behind the last event that it gave.
        """
        for record in list(control.decode(segment.control, self.control, to_control)):
            yield from self._read_rows(segment, min(record.row, to_rows))
            yield self._whole(partial(self._of_control, segment, record))
        yield from self._read_rows(segment, to_rows)

    def _whole(self, make: Callable[[], Read]) -> Read:
        before = self.rows, self.control, self.next_number, self._slots.saved()
        try:
            return make()
        except BaseException:
            self.rows, self.control, self.next_number, slots = before
            self._slots.restore(slots)
            raise

    def _of_control(self, segment: Segment, record: Control) -> Outgoing:
        self.control = record.at + record.size
        event: Event
        if record.kind is Kind.START:
            self._slots.begin(record.slot, record.episode, segment.shape.layout)
            event = self._started(segment, record)
        elif record.kind is Kind.END:
            event = self._ended(segment, record)
        else:
            event = EpisodeAmended(
                stream=self._stream,
                first=self.next_number,
                episode=record.episode,
                metadata=record.payload.get("metadata"),
                discarded=bool(record.flags & control.DISCARDED),
                benchmark_id=self._benchmark,
            )
        self.next_number += 1
        return Outgoing(event, self.rows, self.control)

    def _started(self, segment: Segment, record: Control) -> EpisodeStarted:
        manifest = self.manifest
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

    def _ended(self, segment: Segment, record: Control) -> EpisodeEnded:
        counted = self._slots.end(record.slot)
        seal = control.read_seal(segment.control, record.seal)
        if seal is None:
            seal = Seal(*counted)
            control.write_seal(segment.control, record.seal, seal)
        is_empty = not seal.n_steps  # reset, and over before its first step: the slots of a vector at close
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
            discarded=is_empty or bool(record.flags & control.DISCARDED),
            benchmark_id=self._benchmark,
        )

    def _read_rows(self, segment: Segment, stop: int) -> Iterator[Outgoing]:
        """Events of the rows up to `stop`; no episode begins or ends between them."""
        while self.rows < stop:
            outgoing = self._whole(partial(self._of_rows, segment, stop))
            if outgoing is not None:
                yield outgoing

    def _of_rows(self, segment: Segment, stop: int) -> Outgoing | None:
        start = self.rows
        end = start + rows_within(segment, start, stop, self.record_bytes)
        event = self._steps(segment, start, end)
        self.rows = end
        return None if event is None else Outgoing(event, end, self.control)

    def _steps(self, segment: Segment, start: int, end: int) -> StepsRecorded | None:
        flags, reward, slot = (segment.columns[name][start:end] for name in ("flags", "reward", "slot"))
        counted = self._slots.count_rows(start, flags, reward, slot)
        if counted is None:
            return None
        columns = columns_of(segment, counted.rows, counted.episodes, counted.steps)
        layout = segment.shape.layout
        body = encode_rows(batch_of(columns, layout))
        self._slots.digest(columns, body, counted, layout)
        first = self.next_number
        self.next_number += len(counted.steps)
        return StepsRecorded(
            stream=self._stream,
            first=first,
            last=self.next_number - 1,
            layout=layout.text,
            body=body,
            benchmark_id=self._benchmark,
        )

    @property
    def _benchmark(self) -> bytes:
        return parse_id(self.manifest.benchmark.id)

    def _schema(self, segment: Segment) -> StepSchema:
        if segment.number not in self._schemas:
            self._schemas = {segment.number: StepSchema.from_json(segment.meta["step_schema"])}
        return self._schemas[segment.number]
