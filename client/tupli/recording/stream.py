"""A recording stream: what one wrapper, single or vector, keeps between the environment and the spool.

The environment's thread calls it; what it writes is read by the background threads. At `failed` ends
whatever goes wrong inside the recorder: the episode is aborted with the reason, and the run goes on.
"""

import abc
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np

from tupli.errors import SpoolFull
from tupli.names import like_fields
from tupli.recording.config import MetadataCallback, RecordingConfig
from tupli.recording.ending import end_job, look_after
from tupli.recording.facts import metadata_payload, start_payload
from tupli.recording.given import copied
from tupli.recording.job import StreamJob
from tupli.recording.misfits import Misfits
from tupli.recording.opening import opened
from tupli.recording.shipper import background
from tupli.recording.shortage import Shortage
from tupli.recording.subjects import NO_SUBJECT, Subjects
from tupli.spool import control
from tupli.spool.blocks import block_of, copy_block, heap_bytes
from tupli.spool.control import Kind
from tupli.spool.manifest import BenchmarkState
from tupli.spool.seal import mark_final
from tupli.spool.segment import Segment
from tupli.spool.writer import HeapFull, StreamWriter
from tupli.telling import tell
from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.events import MAX_EVENT_BYTES
from tupli_schemas.spaces import Structure, group_structure
from tupli_schemas.steps import MAX_CELL_BYTES, StepSchema

RUN: Final = 0
"""An episode is open, the next step takes the short way."""
CAREFUL: Final = 1
"""An episode is open, the next step takes the long way."""
BUSY: Final = 2
"""Inside a step. Met at the beginning of a step: the one before was interrupted."""
FIRST: Final = 3
"""A reset was seen, its step schema is not known before the first step."""
MAX_ROW_BYTES: Final = MAX_EVENT_BYTES - (1 << 20)
IDLE: Final = 4
"""Between episodes, or off."""
FULL: Final = "spool full"


class RecordingStream(abc.ABC):
    """What single and vector recordings have in common.

    Attributes:
        state: RUN, CAREFUL, BUSY, FIRST or IDLE.
        active: Whether resets begin episodes.
        full: Whether recording was stopped because the spool was full.
        closing: Whether the end was begun. closed: whether it was come to. drained: whether it was waited for.
    """

    def __init__(self, config: RecordingConfig, slots: int) -> None:
        self.config = config
        self.slots = slots
        self.active = True
        self.full = False
        self.closing = self.closed = self.drained = False
        self.misfits = Misfits()
        self._warned: set[str] = set()
        self.shortage = Shortage()
        self._inherited: list[Any] = []
        self._earlier: list[StreamJob] = []
        self.entered: Callable[[], None] = _nothing
        """Called when a new segment is written from now on."""
        self._reset_stream()

    def _reset_stream(self) -> None:
        """Begin anew all that belongs to one stream: the next episode begins another.

        Only here are these fields made, so that none of one stream is met in the next.
        """
        self.state = IDLE
        self.schema: StepSchema | None = None
        self.structures: tuple[Structure, Structure, Structure] | None = None
        self.job: StreamJob | None = None
        self.writer: StreamWriter = _NO_WRITER  # after the two: without a job, its first row makes another
        self._described: Any = None
        """What the segments tell of themselves that `schema` and `structures` are of."""
        self._entered: Any = None
        """The segment that `entered` was called for last."""
        self._ordinal = 0
        self.episodes = [0] * self.slots
        """The open episode of each slot; 0 for none."""
        self.subjects = Subjects(self.slots)
        self._committed = ([0] * self.slots, 0)
        self.metadata: list[dict[str, Any]] = [{} for _ in range(self.slots)]
        """Of each slot's open episode."""
        self.early: dict[int, dict[str, Any]] = {}
        """Of slots whose episode waits for its first step."""
        self.extra: dict[str, Any] = {}
        """Facts for the step to come."""
        self.half_done = False
        """Whether rows or ends are being written that stand for nothing before they are all published."""

    def forked(self) -> None:
        """In a forked child: the stream is the parent's. The next reset begins one of the child's own."""
        self._inherited.append((self.writer, self.jobs))  # neither used nor let go of here
        self._earlier = []
        self._reset_stream()

    @property
    def jobs(self) -> list[StreamJob]:
        """Its streams: those of benchmarks before, and the one at hand."""
        return self._earlier if self.job is None else [*self._earlier, self.job]

    # --- the edge -----------------------------------------------------------------------------------------

    def failed(self, error: BaseException) -> None:
        """Abort what is open, with the reason; called where recording met an error."""
        self.forget_held()
        if isinstance(error, SpoolFull) and self.shortage.lasts(error, time.monotonic()):
            self.stop_full(error)
            return
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, SchemaMismatch):
            self.schema = self.structures = None  # the next episode gets a step schema of its own
        try:
            self.rollback()
            self.abort_open(reason[:80])
        except Exception as second:  # noqa: BLE001 - nothing of the recorder may reach the run; it is warned of below
            self._give_up(second)
        self.state = IDLE
        self.warn(f"recording of the episode was aborted ({reason})", once=reason)

    def stop_full(self, error: SpoolFull) -> None:
        """Close what is open in the space reserved for it, and record no more."""
        self.full = True
        self._switch_off()
        try:
            self.rollback()
            self.abort_open(FULL)
        except Exception as second:  # noqa: BLE001 - as above
            self._give_up(second)
        self.state = IDLE
        self.warn(f"recording stopped: {error}", once="full")

    def _give_up(self, error: BaseException) -> None:
        """The stream cannot even be ended: leave it to the next start, as if the process had died here."""
        self._switch_off()
        self.episodes = [0] * self.slots
        self.warn(f"recording is off ({type(error).__name__}: {error})", once="off")

    def warn(self, message: str, *, once: str = "") -> None:
        """Tell the run, once for each kind of reason; the warning is never raised as an error through it."""
        if once:
            if once in self._warned:
                return
            self._warned.add(once)
        tell(message)

    def check_names(self, metadata: Mapping[str, Any]) -> None:
        """Tell of metadata that is named like a field of episodes."""
        for name, told in like_fields(metadata):
            self.warn(told, once=f"metadata {name}")

    # --- switches -------------------------------------------------------------------------------------------

    def activate(self) -> None:
        """Resets begin episodes from now on."""
        self.active = not self.full and not self.closing

    def deactivate(self, reason: str = "paused") -> None:
        """End what is open as aborted; resets begin nothing, and nothing is said of what was recorded."""
        self._switch_off()
        self.end(reason=reason)

    def _switch_off(self) -> None:
        self.active = False
        self.subjects.clear()

    def rebind(self, benchmark: BenchmarkState) -> None:
        """Record into another benchmark, in a stream of its own, from the next reset on."""
        if self.config.benchmark is not None and self.config.benchmark.id != benchmark.id:
            self.end(reason="another benchmark")
            self._leave_stream()
        self.config.benchmark = benchmark

    def set_callback(self, callback: MetadataCallback | None) -> None:
        """Another metadata callback."""
        self.config.metadata_callback = callback

    def set_extra(self, values: Mapping[str, Any]) -> None:
        """Facts of the behaviour policy for the step to come; of several slots arrays with one row each."""
        self.extra.update(copied(values) or {})
        if self.state == RUN:
            self.state = CAREFUL

    @abc.abstractmethod
    def holds(self, slot: int) -> bool:
        """Whether an episode of the slot has begun, and waits for its first step to show the step schema."""

    @abc.abstractmethod
    def forget_held(self) -> None:
        """Give up a beginning that waits for its first step."""

    def annotate(self, metadata: Mapping[str, Any], slot: int = 0) -> None:
        """Metadata of a slot's running episode, or of the one that just ended."""
        try:
            if self.holds(slot):
                self.early.setdefault(slot, {}).update(copied(metadata) or {})
            elif self.episodes[slot]:
                self.metadata[slot].update(copied(metadata) or {})
            else:
                self.amend(slot, metadata)
        except Exception as error:  # noqa: BLE001 - the recorder's edge: the run goes on, see `failed`
            self.failed(error)

    def end(self, *, reason: str = "ended", discarded: bool = False) -> None:
        """End what is open as aborted."""
        self.state = BUSY
        self.forget_held()
        try:
            self.abort_open(reason, discarded=discarded)
        except Exception as error:  # noqa: BLE001 - the recorder's edge: the run goes on, see `failed`
            self.failed(error)
        self.state = IDLE

    def _leave_stream(self) -> None:
        self._earlier += self.jobs[len(self._earlier) :]
        self._reset_stream()
        self._end_jobs()

    # --- streams and segments -------------------------------------------------------------------------------

    def open_schema(self, schema: StepSchema) -> None:
        """Go on with rows of this schema: a new stream, or a new segment of the open one.

        Raises:
            SpoolFull: There is no room.
        """
        while self.job is None:
            try:
                self.job, self.writer = opened(self.config, self.slots, self._on_segment)
            except SpoolFull:
                if not self._wait():
                    raise
        self.writer.begin(schema.layout, {"step_schema": schema.to_json()}, wait=self._wait)
        self._described = None  # Ctrl-C may come between any two lines, see `rollback`
        self.schema = schema
        self.structures = (
            group_structure(schema, "observation"),
            group_structure(schema, "action"),
            group_structure(schema, "extra"),
        )
        self._described = self.writer.segment.meta
        if self.writer.segment.shape.row_bytes > MAX_ROW_BYTES:
            raise SchemaMismatch(f"a step of {self.writer.segment.shape.row_bytes} bytes")
        self._tell_entered()

    def _on_segment(self, segment: Segment) -> None:
        """The segment is written soon: by then its reader knows it, and there are threads that deliver it."""
        if self.job is not None:
            self.job.add_segment(segment)
            look_after(self.job)

    def _tell_entered(self) -> None:
        background().entered()  # not before: until then the segment that is entered is the spare one
        self.entered()
        self._entered = self.writer.segment
        self.shortage.over()

    def check_rows(self, row: int, end: int) -> None:
        """Check that each of these rows fits an event.

        Raises:
            SchemaMismatch: One does not.
        """
        segment = self.writer.segment
        room = MAX_ROW_BYTES - segment.shape.row_bytes
        if self.writer.heap_at <= room:
            return
        sizes = [values[row:end] for name, values in segment.columns.items() if name.endswith("_size")]
        largest = int(np.sum(sizes, axis=0, dtype=np.int64).max())
        if largest > room:
            raise SchemaMismatch(f"a step of {largest + segment.shape.row_bytes} bytes")

    def roll(self, heap: int = 0, control_size: int = 0) -> None:
        """Go on in the next segment; with `on_full="block"` waits for room."""
        self.writer.roll(heap=heap, control_size=control_size, wait=self._wait)
        self._tell_entered()

    def relocate(self, heap: int = 0, control_size: int = 0) -> None:
        """Move the block that is being written to a new segment, because its bytes do not fit here."""
        old = self.writer.segment
        block = block_of(old, self.writer.row, self.slots)
        self.roll(heap + heap_bytes(block), control_size)
        copy_block(block, old.heap, self.writer)

    def _wait(self) -> bool:
        """Wait a little for room, when that is wished; false to give up."""
        if self.config.on_full != "block":
            return False
        self.warn("the spool is full: the environment waits until there is room", once="blocked")
        background().wake()
        time.sleep(0.02)
        return not self.closing

    # --- episodes -------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Make what was written visible."""
        state = (self.episodes.copy(), self._ordinal)
        self.writer.publish(state)
        self._committed = state
        self.half_done = False

    def rollback(self) -> None:
        """Forget what was written since the last `publish`: an interrupted or failed step."""
        if self.writer.opened:
            self._committed = self.writer.rollback() or self._committed
            self.episodes, self._ordinal = self._committed[0].copy(), self._committed[1]
            self.subjects.forget_after(self._ordinal)
            segment = self.writer.segment
            if self._described is not segment.meta:
                self.schema = self.structures = None  # the next episode gets a step schema of its own
            if self._entered is not segment:
                self._tell_entered()
        self.half_done = False

    def put_start(self, slot: int, *, seed: Any, options: Any, reset_info: bytes, started_at: int) -> None:
        """Append an episode's start; its first observation is at the slot's row of the next block.

        `reset_info` is already tagged.
        """
        payload = start_payload(
            self.config, self.schema, seed=seed, options=options, reset_info=reset_info, warn=self.warn
        )
        self.check_names(self.config.metadata)
        self._ordinal += 1
        raw = self._start_bytes(slot, started_at, payload)
        if not self.writer.has_control(len(raw), reserve=self.slots):
            self.relocate(control_size=len(raw))
            raw = self._start_bytes(slot, started_at, payload)
        self.writer.put_control(raw)
        self.episodes[slot] = self.subjects.current[slot] = self._ordinal
        self.metadata[slot] = self.early.pop(slot, {})

    def _start_bytes(self, slot: int, started_at: int, payload: bytes) -> bytes:
        return control.encode(
            Kind.START,
            slot=slot,
            episode=self._ordinal,
            row=self.writer.row,
            time=started_at,
            flags=0,
            payload=payload,
        )

    def _move_on(self, control_size: int) -> None:
        """Go on in a new segment between two steps, with the observations that wait at the next block."""
        if any(self.episodes):
            self.relocate(control_size=control_size)
        else:
            self.roll(control_size=control_size)

    def put_end(self, slot: int, *, flags: int, reason: str = "", ended_at: int) -> None:
        """Append an episode's end, after its rows."""
        metadata = self.metadata[slot]
        self.check_names(metadata)
        payload = metadata_payload(metadata, self.warn, reason=reason)
        raw = self._end_bytes(slot, flags, payload, ended_at)
        writer = self.writer
        if not writer.has_control(len(raw), reserve=self.open_count() - 1):
            try:
                self.roll(control_size=len(raw))
                raw = self._end_bytes(slot, flags, payload, ended_at)
            except SpoolFull:
                if len(raw) > control.HEAD.size + control.SEAL.size + 160:
                    self.warn("an episode's metadata was lost: the spool is full", once="metadata")
                    raw = self._end_bytes(slot, flags, control.payload_of(reason=reason[:80]), ended_at)
        writer.put_control(raw)
        self.episodes[slot] = 0
        if self.job is not None:
            self.job.urgent = True

    def _end_bytes(self, slot: int, flags: int, payload: bytes, ended_at: int) -> bytes:
        return control.encode(
            Kind.END,
            slot=slot,
            episode=self.episodes[slot],
            row=self.writer.row,
            time=ended_at,
            flags=flags,
            payload=payload,
        )

    def open_count(self) -> int:
        """How many slots have an open episode."""
        return self.slots - self.episodes.count(0)

    def abort_open(self, reason: str, *, discarded: bool = False) -> None:
        """End all open episodes as aborted; the observations that wait at the next block are their final ones.

        What was interrupted half-way is forgotten first.
        """
        if self.state == BUSY:
            self.rollback()
        if not any(self.episodes):
            return
        self.half_done = True
        writer, now = self.writer, time.time_ns()
        row, end = writer.row, writer.row + self.slots
        columns = writer.segment.columns
        mark_final(columns, row, end, now)
        writer.row = end
        flags = control.ABORTED | (control.DISCARDED if discarded else 0)
        for slot in range(self.slots):
            if self.episodes[slot]:
                self.put_end(slot, flags=flags, reason=reason, ended_at=now)
        self.publish()
        self.wake()

    def amend(
        self, slot: int, metadata: Mapping[str, Any], *, discarded: bool = False, episode: int | None = None
    ) -> None:
        """Say something of an episode that has ended: the slot's last one. Of one that is not recorded nothing."""
        if self.half_done:  # what Ctrl-C left must not be published with it
            self.end(reason="interrupted")
        episode = self.subjects.current[slot] if episode is None else episode
        if not episode:
            self.warn(NO_SUBJECT, once=NO_SUBJECT)
            return
        self.check_names(metadata)
        raw = control.encode(
            Kind.AMEND,
            slot=slot,
            episode=episode,
            row=self.writer.row,
            time=time.time_ns(),
            flags=control.DISCARDED if discarded else 0,
            payload=metadata_payload(metadata, self.warn),
        )
        if not self.writer.has_control(len(raw), reserve=self.slots):
            self._move_on(len(raw))
            self.amend(slot, metadata, discarded=discarded, episode=episode)
            return
        self.writer.put_control(raw)
        self.publish()
        self.wake()

    def wake(self) -> None:
        """Ask for shipping now rather than soon."""
        if self.job is not None:
            self.job.urgent = True
            background().wake()

    def finish(self, reason: str) -> None:
        """End the stream: open episodes are aborted, nothing more will come. Interrupted, it is to be called again."""
        if self.closed:
            return
        self.closing = True
        self._switch_off()
        self.state = BUSY
        try:
            self.abort_open(reason)
        except Exception as error:  # noqa: BLE001 - closing must not fail the run; what is published is delivered
            self._give_up(error)
        self.state = IDLE
        self._end_jobs()
        self.closed = True

    def _end_jobs(self) -> None:
        for job in self.jobs:
            if not job.ended and (problem := end_job(job)):
                self.warn(f"closing the stream met {problem}", once="close")


def _nothing() -> None:
    """Nobody wants to know."""


def check_cells(cells: Iterable[Any]) -> int:
    """How many bytes an observation, an action or the extra facts of one step take in the heap.

    Raises:
        SchemaMismatch: They are too many.
    """
    size = sum(len(cell) for cell in cells if isinstance(cell, bytes))
    if size > MAX_CELL_BYTES:
        raise SchemaMismatch(
            f"a value that takes {size} bytes as it is written down, of at most {MAX_CELL_BYTES}"
        )
    return size


class _NoWriter:
    """Stands for the writer before the first step."""

    opened = False
    row = limit = 0


_NO_WRITER: Any = _NoWriter()


def retry_in_new_segment(stream: RecordingStream, put: Callable[[], object]) -> None:
    """Write something of the block at hand; move the block when the heap has no room for it.

    Raises:
        SpoolFull: There is none; the block stands where it was.
    """
    try:
        put()
    except HeapFull as full:
        stream.relocate(full.size)
        put()
