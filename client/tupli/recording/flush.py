"""Delivery of what dead processes left in the spool: at the next start, and by `tupli spool flush`.

Exactly once in effect: numbers come from the segments, so a repetition says the same.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from tupli.errors import TransportError
from tupli.recording.delivery import deliver, framed
from tupli.recording.job import StreamJob
from tupli.spool.directory import SpoolDirectory
from tupli.spool.manifest import Manifest, ManifestError
from tupli.spool.owner import StreamLock
from tupli.spool.seal import close_dead
from tupli.spool.segment import Segment, SegmentError
from tupli.transport.base import Transport

REQUEST_BYTES: Final = 4 << 20


@dataclass
class FlushReport:
    """What a flush did: streams and rows that were delivered, rows that stay, and what is wrong with them."""

    streams: int = 0
    rows: int = 0
    left: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream in the spool, as `tupli spool status` shows it."""

    stream: str
    address: str
    benchmark: str
    rows: int
    bytes: int
    alive: bool
    problem: str


def dead_jobs(directory: SpoolDirectory, transport: Transport) -> list[StreamJob]:
    """The streams of dead processes for this server and subject, locked and ready to be delivered."""
    jobs = []
    for path in directory.streams():
        job = _dead_job(directory, transport, path)
        if job is not None:
            jobs.append(job)
    return jobs


def flush_dead(
    spool_dir: str | os.PathLike[str] | SpoolDirectory | None, transport: Transport
) -> FlushReport:
    """Deliver what dead processes left for this server and subject.

    Raises:
        TransportError: The server cannot be reached. AuthError: It asks for a credential. What is not delivered stays.
    """
    directory = spool_dir if isinstance(spool_dir, SpoolDirectory) else SpoolDirectory(spool_dir)
    report = FlushReport()
    jobs = dead_jobs(directory, transport)
    try:
        for job in jobs:
            _deliver_all(job, report)
    finally:
        for job in jobs:
            report.left += 0 if job.done.is_set() else job.unacknowledged
            job.let_go()
    return report


def status(spool_dir: str | os.PathLike[str] | SpoolDirectory | None = None) -> list[StreamStatus]:
    """All streams in the spool."""
    directory = spool_dir if isinstance(spool_dir, SpoolDirectory) else SpoolDirectory(spool_dir)
    return [found for path in directory.streams() if (found := _status(path)) is not None]


def _deliver_all(job: StreamJob, report: FlushReport) -> None:
    rows = job.unacknowledged
    if not job.resolve_benchmark():
        report.problems += job.problems
        return
    while not job.done.is_set():
        outgoing = job.take(REQUEST_BYTES)
        deliver(job.transport, framed(job, outgoing))
        job.release()
        if not outgoing and not job.done.is_set():
            raise TransportError(f"stream {job.manifest.stream} has nothing more to send, yet is not empty")
    report.streams += 1
    report.rows += rows
    report.problems += job.problems


def _dead_job(directory: SpoolDirectory, transport: Transport, path: Path) -> StreamJob | None:
    try:
        manifest = Manifest.read(path)
    except ManifestError:
        return None  # just being made, or just removed
    mine = manifest.address == transport.address and manifest.identity == transport.identity
    if not mine or manifest.owner.is_this_process or is_alive(manifest):
        return None
    lock = StreamLock(path)
    if not lock.acquire():
        lock.close()
        return None
    try:
        dead = close_dead(path, Manifest.read(path))
    except (ManifestError, SegmentError):
        lock.close()
        return None
    job = StreamJob(transport, directory, path, dead.manifest, lock, None)
    job.ended = True
    job.problems += dead.lost
    for segment in dead.segments:
        job.add_segment(segment)
    return job


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


def _status(path: Path) -> StreamStatus | None:
    try:
        manifest = Manifest.read(path)
        segments = [Segment.open(file) for file in sorted(path.glob("*.seg"))]
    except (ManifestError, SegmentError, FileNotFoundError):
        return None
    rows = sum(max(s.published()[0] - (s.acknowledged[0] & 0xFFFFFFFF), 0) for s in segments)
    return StreamStatus(
        stream=manifest.stream,
        address=manifest.address,
        benchmark=manifest.benchmark.name or manifest.benchmark.id,
        rows=rows,
        bytes=sum(s.size for s in segments),
        alive=manifest.owner.is_this_process or is_alive(manifest),
        problem=manifest.benchmark.refused,
    )
