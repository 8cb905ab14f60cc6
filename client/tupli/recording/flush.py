"""Delivery of what dead processes left in the spool: at the next start, and by `tupli spool flush`.

Exactly once in effect: numbers come from the segments, so a repetition says the same.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from tupli.errors import AuthError, TransportError, TupliError
from tupli.recording.backoff import reason_of
from tupli.recording.delivery import REQUEST_BYTES, deliver, framed
from tupli.recording.job import StreamJob
from tupli.spool import control
from tupli.spool.checksums import verified
from tupli.spool.directory import NO_FILES, SpoolDirectory
from tupli.spool.layout import unpack_word
from tupli.spool.manifest import Manifest, ManifestError
from tupli.spool.owner import StreamLock
from tupli.spool.reader import Outgoing
from tupli.spool.seal import close_dead
from tupli.spool.segment import Segment, SegmentError
from tupli.transport.base import Transport
from tupli_schemas.errors import ContractError
from tupli_schemas.events import EpisodeEnded, Event, StepsRecorded


@dataclass
class FlushReport:
    """What a flush did.

    Attributes:
        streams: That are gone from the spool. rows: Rows that were settled now: steps, and final observations.
        episodes: Whose end was delivered now. steps: Transitions that were delivered now.
        left: Rows that stay, of this server and subject.
        rejected: Events that the server refused for good now; they are in the spool's `rejected`.
        problems: What is wrong, for people.
    """

    streams: int = 0
    episodes: int = 0
    steps: int = 0
    rows: int = 0
    left: int = 0
    rejected: int = 0
    problems: list[str] = field(default_factory=list)


class DeadJob(StreamJob):
    """The stream of a process that runs no more; counts what is delivered of it."""

    episodes = steps = 0

    def count(self, events: Iterable[Event], sign: int = 1) -> None:
        """These events are settled, or (-1) were not delivered."""
        for event in events:
            if isinstance(event, StepsRecorded):
                finals = event.rows().column("is_final").to_numpy(zero_copy_only=False)
                self.steps += sign * (len(finals) - int(np.count_nonzero(finals)))
            elif isinstance(event, EpisodeEnded):
                self.episodes += 0 if event.discarded else sign

    def acknowledge(self, outgoing: Outgoing) -> None:
        """The event is durable."""
        self.count([self.first_unsent.event])  # `outgoing` may be a part of it
        super().acknowledge(outgoing)

    def rejected(self, outgoing: Outgoing, error: TupliError) -> None:
        """The event was put aside."""
        self.count([outgoing.event], -1)
        super().rejected(outgoing, error)


def dead_jobs(
    directory: SpoolDirectory, transport: Transport, problems: list[str] | None = None
) -> Iterator[DeadJob]:
    """The streams of dead processes for this server and subject, each locked and ready when it is asked for.

    Each has open files until it is delivered or let go: whoever asks for all keeps a few at a time. What keeps one
    from being delivered is added to `problems`.
    """
    for path in directory.streams():
        try:
            job = _dead_job(directory, transport, path)
        except FileNotFoundError:
            continue  # somebody else has just delivered it
        except Exception as error:  # noqa: BLE001 - a stream's edge: damage may show as anything, the others go on
            no_files = isinstance(error, OSError) and error.errno in NO_FILES
            told = error if isinstance(error, ContractError | OSError) else reason_of(error)
            stays = "and those behind it stay" if no_files else "stays"
            if problems is not None:
                problems.append(f"stream {path.name} {stays}: {told}")
            if no_files:
                return
            continue
        if job is not None:
            yield job


def flush_dead(
    spool_dir: str | os.PathLike[str] | SpoolDirectory | None,
    transport: Transport,
    report: FlushReport | None = None,
) -> FlushReport:
    """Deliver what dead processes left for this server and subject, stream by stream.

    A stream that cannot be read or settled stays, and is one of the report's problems; the others go on. A `report`
    that is given says what was done by then also where this raises.

    Raises:
        TransportError: The server cannot be reached. AuthError: It asks for a credential. What is not
            delivered stays.
    """
    directory = spool_dir if isinstance(spool_dir, SpoolDirectory) else SpoolDirectory(spool_dir)
    report = FlushReport() if report is None else report
    for job in dead_jobs(directory, transport, report.problems):
        rows = job.unacknowledged
        try:
            _deliver_stream(job)
        finally:
            left = 0 if job.done.is_set() else job.unacknowledged
            job.let_go()
            report.streams += job.done.is_set()
            report.rows += rows - left
            report.left += left
            report.episodes += job.episodes
            report.steps += job.steps
            report.rejected += job.rejected_events
            report.problems += job.problems
    return report


def _deliver_stream(job: DeadJob) -> None:
    try:
        _deliver_all(job)
    except (TransportError, AuthError):
        raise
    except Exception as error:  # noqa: BLE001 - a stream's edge: damage may show as anything, the others go on
        job.failed(error)


def _deliver_all(job: DeadJob) -> None:
    if not job.resolve_benchmark():
        return
    while not job.done.is_set():
        outgoing = job.take(REQUEST_BYTES)
        deliver(job.transport, framed(job, outgoing))
        if job.blocked:
            return
        job.release()
        if not outgoing and not job.done.is_set():
            raise TupliError("it has nothing more to send, yet is not empty")


def _dead_job(directory: SpoolDirectory, transport: Transport, path: Path) -> DeadJob | None:
    """None for what is not ours to deliver, or not there any more."""
    manifest = manifest_of(path)
    if manifest is None:
        return None
    mine = manifest.address == transport.address and manifest.identity == transport.identity
    if not mine or manifest.owner.is_this_process or is_alive(manifest):
        return None
    lock = StreamLock(path)
    if not lock.acquire():
        return None
    try:
        manifest = manifest_of(path)
        if manifest is None:
            lock.close()
            return None
        dead = close_dead(path, manifest, directory.unproven)
        job = DeadJob(transport, directory, path, manifest, lock, None)
        job.ended = True
        job.problems += dead.lost
        for segment in dead.segments:
            job.add_segment(segment)
        for segment in dead.segments[:1]:
            segment.take_up()
    except BaseException:
        lock.close()
        raise
    return job


def manifest_of(path: Path) -> Manifest | None:
    """The manifest; None when somebody removes the stream meanwhile.

    Raises:
        ManifestError: It is damaged, or of another version.
    """
    try:
        return Manifest.read(path)
    except ManifestError:
        if (path / "manifest.json").exists():
            raise
        return None


def is_alive(manifest: Manifest) -> bool:
    """Whether the stream's owner still runs."""
    owner = manifest.owner
    if not owner.from_this_boot:
        return False
    try:
        process = psutil.Process(owner.pid)
        return bool(process.create_time() == owner.started and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream in the spool, as `tupli spool status` shows it.

    Attributes:
        episodes: Whose end is not delivered yet. rows: Steps, and final observations, that are not.
        problem: Why it cannot be delivered; empty when nothing is known to be in the way.
    """

    stream: str
    address: str
    benchmark: str
    episodes: int
    rows: int
    bytes: int
    alive: bool
    problem: str


def status(spool_dir: str | os.PathLike[str] | SpoolDirectory | None = None) -> list[StreamStatus]:
    """All streams in the spool."""
    directory = spool_dir if isinstance(spool_dir, SpoolDirectory) else SpoolDirectory(spool_dir)
    return [found for path in directory.streams() if (found := stream_status(path)) is not None]


def stream_status(path: Path) -> StreamStatus | None:
    """What waits in a stream's directory; None when it is gone."""
    try:
        manifest = manifest_of(path)
    except ManifestError as error:
        return StreamStatus(path.name, "", "", 0, 0, 0, alive=False, problem=str(error))
    return None if manifest is None else status_of(path, manifest)


def status_of(path: Path, manifest: Manifest) -> StreamStatus:
    """What waits in the directory of a stream with this manifest."""
    segments, problems = _opened(path)
    try:
        episodes = _episodes_of(segments, whole=manifest.owner.from_this_boot)
    except Exception as error:  # noqa: BLE001 - damage may show as anything, and here people learn of it
        episodes = 0
        problems.append(reason_of(error))
    return StreamStatus(
        stream=manifest.stream,
        address=manifest.address,
        benchmark=manifest.benchmark.name or manifest.benchmark.id,
        episodes=episodes,
        rows=sum(segment.unacknowledged for segment in segments),
        bytes=sum(s.size for s in segments),
        alive=manifest.owner.is_this_process or is_alive(manifest),
        problem=next(filter(None, [manifest.benchmark.refused, manifest.problem, *problems]), ""),
    )


def _opened(path: Path) -> tuple[list[Segment], list[str]]:
    """The segments of a stream that can be opened, and what is wrong with the others."""
    segments, problems = [], []
    for file in sorted(path.glob("*.seg")):
        try:
            segments.append(Segment.open(file))
        except FileNotFoundError:
            continue  # it was delivered meanwhile
        except Exception as error:  # noqa: BLE001 - as above
            problems.append(str(error) if isinstance(error, SegmentError) else reason_of(error))
    return segments, problems


def _episodes_of(segments: list[Segment], *, whole: bool) -> int:
    """Episodes whose end the server has not acknowledged, but for those that were given up."""
    ended: set[int] = set()
    for segment in segments:
        used = segment.published()[1] if whole else verified(segment)[1]
        for record in control.decode(segment.control, unpack_word(segment.acknowledged[0])[1], used):
            if record.flags & control.DISCARDED:
                ended.discard(record.episode)
            elif record.kind is control.Kind.END:
                ended.add(record.episode)
    return len(ended)
