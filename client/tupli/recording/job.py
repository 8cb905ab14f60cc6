"""One stream on its way to the server: its segments, its reader, and what is acknowledged."""

import contextlib
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Final

from tupli.errors import Conflict, InvalidInput, NotFound, TupliError
from tupli.recording.backoff import Backoff, reason_of
from tupli.recording.upkeep import Upkeep
from tupli.spool.directory import NO_ROOM, SpoolDirectory
from tupli.spool.layout import unpack_word
from tupli.spool.manifest import BenchmarkState, Manifest, StreamState
from tupli.spool.owner import StreamLock
from tupli.spool.reader import Outgoing, StreamReader
from tupli.spool.segment import Segment, SegmentError
from tupli.spool.writer import StreamWriter
from tupli.telling import tell
from tupli.transport.base import Transport
from tupli_schemas.catalog import CreateBenchmark
from tupli_schemas.ids import parse_id

SHIP_ROWS: Final = 256
SHIP_SECONDS: Final = 0.1
UNKNOWN_SECONDS: Final = 5.0
"""After so long a server that did not know the benchmark is asked again."""
_DONE_POLL: Final = 0.002


class StreamJob:
    """A stream to be delivered, which the thread that ships owns.

    The environment's thread calls `add_segment` and sets `urgent` and `ended`; `upkeep` is another thread's.

    Attributes:
        route: Streams that are equal in it share requests, see `Transport`.
        taken_at: When its events were taken last (`time.monotonic`).
        ended: Nothing more will be written.
        urgent: Ship now, an episode has ended.
        done: Set when everything is acknowledged and the stream's directory is gone.
        problems: What the server will not take, for `tupli spool status` and warnings.
        rejected_events: How many events were put aside.
        told: Whether the user was told that it is still in the spool.
        upkeep: What is done for its segments beside delivering them.
        backoff: When it is tried again, where it cannot be read or settled.
        left: Whether it was left in the spool for whoever comes next.
    """

    def __init__(
        self,
        transport: Transport,
        directory: SpoolDirectory,
        path: Path,
        manifest: Manifest,
        lock: StreamLock,
        writer: StreamWriter | None,
    ) -> None:
        self.transport = transport
        self.route = transport.route
        self.directory = directory
        self.path = path
        if manifest.benchmark.resolved and manifest.benchmark.refused:  # it was another server, perhaps
            manifest = manifest.with_benchmark(replace(manifest.benchmark, refused=""))
        self.lock = lock
        self.writer = writer
        self.urgent = False
        self.ended = False
        self.done = threading.Event()
        self.problems: list[str] = []
        self.rejected_events = 0
        self.told = False
        self.backoff = Backoff()
        self.left = False
        self.taken_at = 0.0
        self._last_number = 0
        self._gap: int | None = None
        self._told_unknown = False
        self.reader = StreamReader(manifest, StreamState.read(path, manifest.slots))
        self._segments: deque[Segment] = deque()
        self._releasable: deque[tuple[Segment, StreamState]] = deque()
        self._unsent: deque[tuple[Segment, Outgoing]] = deque()
        self._stranded: list[Segment] = []
        """Segments in the directory that this job does not know, and that were not delivered."""
        self.upkeep = Upkeep(self._segments, self._releasable)
        self._since: float | None = None

    @property
    def manifest(self) -> Manifest:
        """What the stream says about itself."""
        return self.reader.manifest

    @manifest.setter
    def manifest(self, manifest: Manifest) -> None:
        self.reader.manifest = manifest

    def add_segment(self, segment: Segment) -> None:
        """A segment that follows those before it (environment's thread); told again, it is known already."""
        if segment not in list(self._segments):
            self._segments.append(segment)

    @property
    def unacknowledged(self) -> int:
        """Rows in the spool that the server has not acknowledged."""
        # Lists are made at once; the deques change while they are walked over.
        released = (segment for segment, _ in list(self._releasable))
        segments = [*list(self._segments), *released, *self._stranded]
        return sum(segment.unacknowledged for segment in segments)

    @property
    def visible_number(self) -> int:
        """The number up to which the stream will be visible: nothing behind a refused one counts as gapless."""
        return self._last_number if self._gap is None else min(self._last_number, self._gap - 1)

    @property
    def blocked(self) -> bool:
        """Whether the data stays in the spool: its benchmark was refused, or the stream could not be removed."""
        return bool(self.manifest.benchmark.refused or self._stranded)

    def is_due(self, now: float) -> bool:
        """Whether something should be sent now."""
        if now < self.backoff.not_before or (self.blocked and not self._may_be_known_again):
            return False
        if self._unsent or (self.ended and not self.done.is_set()):
            return True
        if not self._segments:
            return False
        segment = self._segments[0]
        rows, control_at, closed = segment.published()
        if rows == self.reader.rows and control_at == self.reader.control and not closed:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        late = now - self._since >= SHIP_SECONDS
        return self.urgent or closed or late or rows - self.reader.rows >= SHIP_ROWS

    def take(self, max_bytes: int) -> list[Outgoing]:
        """The next events, up to about so many bytes; they stay here until they are acknowledged."""
        self.urgent = False
        self._since = None
        self.taken_at = time.monotonic()
        size = sum(_size(outgoing) for _, outgoing in self._unsent)
        while size < max_bytes and self._segments:
            segment = self._segments[0]
            rows, control_at, closed = segment.published()
            skipped = self._skip_acknowledged(segment)
            for outgoing in self.reader.read(segment, rows, control_at) if not skipped else ():
                self._unsent.append((segment, outgoing))
                size += _size(outgoing)
                if size >= max_bytes:
                    break
            if (self.reader.rows, self.reader.control) < (rows, control_at) or not closed:
                if skipped:
                    continue
                break
            self._leave(segment)
        return [outgoing for _, outgoing in self._unsent]

    @property
    def first_unsent(self) -> Outgoing:
        """The event that is acknowledged next, whole."""
        return self._unsent[0][1]

    def acknowledge(self, outgoing: Outgoing) -> None:
        """The event is durable: its rows may go."""
        segment, first = self._unsent.popleft()
        segment.acknowledge(outgoing.rows, outgoing.control)
        self._last_number = max(self._last_number, first.event.last, outgoing.event.last)
        being_read = bool(self._segments) and self._segments[0] is segment
        if not being_read and not (self._unsent and self._unsent[0][0] is segment):
            _finish(segment)

    def rejected(self, outgoing: Outgoing, error: TupliError) -> None:
        """The event was put aside."""
        self.rejected_events += 1
        self._gap = outgoing.event.first if self._gap is None else min(self._gap, outgoing.event.first)
        event = outgoing.event
        self.problems.append(
            f"the server refused {event.NAME} {event.first}..{event.last}: {error}; "
            f"kept in {self.directory.rejected}"
        )

    def benchmark_unknown(self, error: TupliError) -> None:
        """The server does not know the benchmark any more, or is another one: the stream stays in the spool."""
        benchmark = replace(self.manifest.benchmark, refused=str(error))
        self.backoff.not_before = time.monotonic() + UNKNOWN_SECONDS
        if self._told_unknown:
            self.manifest = self.manifest.with_benchmark(benchmark)
        else:
            self._told_unknown = True
            self._keep(benchmark)
            self.problems.append(
                f"the server at {self.manifest.address} does not know benchmark {benchmark.name or benchmark.id!r} "
                f"(was it deleted, or is this another server?); the stream stays in {self.path}"
            )

    @property
    def _may_be_known_again(self) -> bool:
        """Whether to ask once more, after a while: the server with the benchmark may be back at its address."""
        benchmark = self.manifest.benchmark
        return benchmark.resolved and bool(benchmark.refused) and not self._stranded

    def resolve_benchmark(self) -> bool:
        """Create or find the benchmark, once; false when the server refuses it.

        Raises:
            TransportError: Try again. AuthError: wait for a credential.
        """
        benchmark = self.manifest.benchmark
        if benchmark.resolved:
            if benchmark.refused:  # by another server, perhaps: this one says it once more
                self.manifest = self.manifest.with_benchmark(replace(benchmark, refused=""))
            return True
        command = CreateBenchmark(
            command_id=benchmark.command_id,
            benchmark=parse_id(benchmark.id),
            name=benchmark.name,
            descriptor=benchmark.descriptor or {},
        )
        try:
            found = str(self.transport.command(command).get("id", benchmark.id))
        except (Conflict, InvalidInput, NotFound) as error:
            benchmark = replace(benchmark, refused=str(error))
            self.problems.append(
                f"the server refused benchmark {benchmark.name!r}: {error}; the stream stays in {self.path}"
            )
        else:
            benchmark = replace(benchmark, id=found, resolved=True)
        self._keep(benchmark)
        return benchmark.resolved

    def _keep(self, benchmark: BenchmarkState) -> None:
        self.manifest = self.manifest.with_benchmark(benchmark)
        try:
            self.manifest.write(self.path)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise  # without room: whoever comes next asks again with the same command, and hears the same

    def failed(self, error: Exception) -> None:
        """Something is wrong with this stream: it waits, nothing more of it is removed, and its manifest says why."""
        self.backoff.failed(time.monotonic(), reason_of(error))
        if self.backoff.told != self.backoff.reason:
            self.backoff.told = self.backoff.reason
            self._note(self.backoff.reason)
            self.problems.append(
                f"stream {self.manifest.stream} cannot be delivered ({self.backoff.reason}); it stays in {self.path}"
            )

    def worked(self) -> None:
        """What was taken of it is delivered and settled."""
        self.backoff.worked()
        if self._told_unknown and not self.blocked:
            self._told_unknown = False
            self._keep(self.manifest.benchmark)
        if self.manifest.problem:
            self._note("")

    def _note(self, problem: str) -> None:
        self.manifest = replace(self.manifest, problem=problem)
        with contextlib.suppress(OSError):  # a note for `tupli spool status`; what it is about is told anyway
            if (self.path / "manifest.json").exists():
                self.manifest.write(self.path)

    def release(self) -> None:
        """Unlink what is acknowledged; the directory goes with the last of an ended stream."""
        while self._releasable and self._releasable[0][0].done:
            segment, state = self._releasable[0]
            try:
                state.write(self.path)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                if not (self.ended and not self._segments and not self._unsent):
                    return  # once more when there is room; until then the segment stays
            self._releasable.popleft()
            with self.upkeep.covering:
                segment.unlink()
        if self.ended and not self._segments and not self._releasable and not self._unsent:
            self.remove()

    def remove(self) -> None:
        """Remove the stream's directory, if everything in it has been delivered; else leave it, and say so."""
        with self.upkeep.covering:
            self._stranded = [segment for file in self.path.glob("*.seg") if (segment := _undelivered(file))]
            if self._stranded:
                tell(
                    f"the spool holds {self.unacknowledged} rows that were not sent; they stay in {self.path}"
                )
                self.let_go()
                return
            for name in ("state.json", "manifest.json", "lock"):
                (self.path / name).unlink(missing_ok=True)
            for leftover in (*self.path.glob("*.s*"), *self.path.glob("*.new")):
                leftover.unlink(missing_ok=True)
        self.lock.close()
        with contextlib.suppress(OSError):
            self.path.rmdir()
        self.writer = None  # its last segment is mapped as long as somebody knows it
        self.upkeep.over()
        self.done.set()

    def let_go(self) -> None:
        """Leave the stream in the spool for whoever comes next."""
        self.left = True
        self.lock.close()

    def wait_done(self, deadline: float) -> bool:
        """Whether everything was acknowledged before the deadline (monotonic)."""
        while not self.done.is_set():  # not `wait`: interrupted by Ctrl-C it can leave the event's lock held
            if time.monotonic() >= deadline:
                return False
            time.sleep(_DONE_POLL)
        return True

    def _skip_acknowledged(self, segment: Segment) -> bool:
        """Read past what an earlier process delivered; true when something was skipped."""
        rows, control_at, _ = unpack_word(segment.acknowledged[0])
        if (self.reader.rows, self.reader.control) >= (rows, control_at) or self._unsent:
            return False
        for outgoing in self.reader.read(segment, rows, control_at):
            self._last_number = max(self._last_number, outgoing.event.last)
        return True

    def _leave(self, segment: Segment) -> None:
        self.upkeep.leave_first()
        self.reader.next_segment()
        self._releasable.append((segment, self.reader.state(segment.number + 1)))
        if not (self._unsent and self._unsent[-1][0] is segment):
            _finish(segment)


def _finish(segment: Segment) -> None:
    """All events of the segment are acknowledged: behind the last, rows that are no transitions have none."""
    segment.acknowledge(*segment.published()[:2])


def _undelivered(file: Path) -> Segment | None:
    """The segment of a file that holds what the server has not acknowledged; None for any other file."""
    try:
        segment = Segment.open(file)
    except (SegmentError, FileNotFoundError):
        return None
    rows, used, _ = segment.published()
    return segment if (rows, used) > unpack_word(segment.acknowledged[0])[:2] else None


def _size(outgoing: Outgoing) -> int:
    return len(getattr(outgoing.event, "body", b"")) + 512
