"""What must happen to recordings that nobody closes: at interpreter exit, after a fork, when they are forgotten."""

import os
import time
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from tupli.errors import NotFound, SpoolFull, TransportError, TupliError
from tupli.recording.abandoned import abandon, end_now
from tupli.recording.flush import StreamStatus, stream_status
from tupli.recording.job import StreamJob
from tupli.recording.shipper import Background, after_fork_in_child, at_exit, background
from tupli.recording.stream import RecordingStream
from tupli.telling import tell

EXIT_SECONDS: Final = 10.0
"""How long an interpreter that ends without `close` waits; not at all while the server cannot be reached."""
_VISIBLE_POLL: Final = 0.02
_MAX_VISIBLE_POLL: Final = 0.5

_live: "weakref.WeakSet[RecordingStream]" = weakref.WeakSet()


def watch(owner: object, stream: RecordingStream) -> None:
    """Look after a stream whose user is `owner`: when that is gone, the stream ends."""
    _live.add(stream)
    at_exit(_drain_at_exit)
    # The finalizer must not know the owner. At exit `_drain_at_exit` does it, in time to deliver.
    weakref.finalize(owner, abandon, partial(stream.finish, "abandoned")).atexit = False


def drain(stream: RecordingStream, timeout: float) -> None:
    """Wait until a finished stream is accepted and visible, at most `timeout` seconds; warn with what is left.

    Raises:
        SpoolFull: Recording had been stopped because the spool was full.
    """
    deadline = time.monotonic() + timeout
    with background().hurried():
        for job in stream.jobs:
            _wait(job, stream, deadline)
    if stream.config.owns_transport and all(job.done.is_set() for job in stream.jobs):
        stream.config.transport.close()
    stream.drained = True
    if stream.full:
        raise SpoolFull("recording was stopped because the spool was full; what was recorded before is kept")


def _wait(job: StreamJob, stream: RecordingStream, deadline: float) -> None:
    while not job.wait_done(min(deadline, time.monotonic() + 0.25)):
        if job.blocked:
            break
        if time.monotonic() >= deadline:
            break
    if not job.done.is_set():
        job.told = True
        why, what = background().why(job), "tries them again" if job.backoff.failures else "delivers them"
        stream.warn(
            f"{job.unacknowledged} rows are still in the spool {job.directory.root}{f' ({why})' if why else ''}; "
            f"the next start or `tupli spool flush` {what}"
        )
        return
    if job.rejected_events:
        stream.warn(f"the server refused {job.rejected_events} events; they are in {job.directory.rejected}")
    pause = _VISIBLE_POLL
    while not _is_visible(job):
        if time.monotonic() >= deadline:
            stream.warn("everything is accepted, but not visible yet")
            return
        time.sleep(pause)
        pause = min(1.5 * pause, _MAX_VISIBLE_POLL)


def undelivered(stream: RecordingStream) -> StreamStatus | None:
    """What of a finished stream is still in the spool; None when the server has it."""
    return next((stream_status(job.path) for job in stream.jobs if not job.done.is_set()), None)


def _is_visible(job: StreamJob) -> bool:
    if not job.visible_number:
        return True
    try:
        state = job.transport.stream_state(job.manifest.stream_id)
    except NotFound:
        return bool(job.rejected_events)  # its benchmark is gone, and the stream with it
    except TransportError:
        return False
    except TupliError:
        return True  # it cannot be asked; accepted is what was promised
    return int(state.get("expected", 0)) > job.visible_number


def _drain_at_exit() -> None:
    deadline = time.monotonic() + EXIT_SECONDS
    streams = [stream for stream in list(_live) if not stream.closed]
    for stream in streams:
        end_now(partial(stream.finish, "exit"))
    bg = background()
    left, reasons = 0, dict[str, None]()
    with bg.hurried():
        for job in _until(deadline, bg):
            why = _what_keeps(job, bg, deadline)
            if why is not None and not job.told:
                left += job.unacknowledged
                reasons[why] = None
    if left:
        why = "; ".join(filter(None, reasons))
        tell(
            f"{'at least ' if bg.is_adopting else ''}{left} rows are still in the spool{f' ({why})' if why else ''}; "
            "the next start or `tupli spool flush` delivers them"
        )


def _what_keeps(job: StreamJob, bg: Background, deadline: float) -> str | None:
    """Why a stream stays in the spool, as far as that is known; None when it was delivered."""
    while not job.wait_done(min(deadline, time.monotonic() + 0.1)):
        why = bg.why(job)
        if time.monotonic() >= deadline or why or job.blocked or not job.ended:
            return why
    return None


def _until(deadline: float, bg: Background) -> Iterator[StreamJob]:
    """All streams; while they are delivered, also dead ones that are taken over meanwhile."""
    seen: set[StreamJob] = set()
    while True:
        new = [job for job in bg.jobs() if job not in seen]
        yield from new
        seen.update(new)
        is_stuck = not all(job.done.is_set() for job in seen)
        if not new and (is_stuck or not bg.is_adopting or time.monotonic() >= deadline):
            return
        if not new:
            time.sleep(_VISIBLE_POLL)


def _in_child() -> None:
    after_fork_in_child()
    for stream in list(_live):
        stream.forked()


def _install() -> None:
    os.register_at_fork(after_in_child=_in_child)


_install()

__all__: Final[list[Any]] = ["drain", "undelivered", "watch"]
