"""The background of a process's recordings: a thread that ships, one that makes segments, one for checksums.

They are daemons shared by all streams. They are three because a request may hang for as long as the network
likes, and because each call that gives up the interpreter may have to wait some milliseconds for it behind an
environment that computes: checksums take a hundred such calls, and meanwhile the next segment is needed. No
thread of an environment waits for the network; for a segment it does, where it is faster than they are made.
Servers are called in turn by the one thread: one that hangs delays what goes to others (by up to the time that a request
waits), and loses none of it.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tupli.errors import AuthError, SpoolFull, TransportError
from tupli.recording import abandoned
from tupli.recording.adoption import AT_ONCE, Adoption
from tupli.recording.backoff import Backoff, reason_of
from tupli.recording.bell import Bell
from tupli.recording.delivery import REQUEST_BYTES, Item, deliver, framed
from tupli.recording.job import StreamJob
from tupli.spool.directory import SpoolDirectory
from tupli.telling import tell
from tupli.transport.base import Transport

POLL_SECONDS: Final = 0.02
IDLE_SECONDS: Final = 0.25
MIN_INTERVAL: Final = 0.05
"""Between two requests to a server: a fast simulator's steps share them, and its thread keeps the interpreter."""
REST: Final = 8.0
"""So many times as long as a request took to make it rests: a thousand slow streams leave their process its core."""
LEAST_BYTES: Final = 512
"""What an event counts for at least: a request may hold 10,000 of them."""
COVER_SECONDS: Final = 0.1
CHECKSUM_SECONDS: Final = 1.0
MAX_LINGER: Final = 2.0
AUTH_SECONDS: Final = 2.0


@dataclass
class _Server:
    """What is remembered of a route: when to call it next, and through which transport."""

    transport: Transport
    backoff: Backoff = field(default_factory=Backoff)


class Background:
    """The threads, and the streams they look after; of the dead ones so many at once."""

    def __init__(self, dead_at_once: int = AT_ONCE) -> None:
        self._dead_at_once = dead_at_once
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._jobs: list[StreamJob] = []
        self._servers: dict[Hashable, _Server] = {}
        self._woken = Bell()
        self._entered = Bell()
        self._threads: dict[str, threading.Thread] = {}
        self._adopted: set[tuple[str, str, str]] = set()
        self._adoptions: list[Adoption] = []
        self._hurried: set[object] = set()

    def add(self, job: StreamJob) -> None:
        """Look after a stream from now on; done again, it starts threads that an interruption left out."""
        with self._lock:
            if not (job in self._jobs or job.left or job.done.is_set()):
                self._jobs.append(job)
            for name, work in (
                ("tupli-shipper", self._ship_forever),
                ("tupli-segments", self._prepare_forever),
                ("tupli-checksums", self._cover_forever),
            ):
                if name not in self._threads or not self._threads[name].is_alive():
                    thread = threading.Thread(target=self._run, args=(name, work), name=name, daemon=True)
                    self._threads[name] = thread
                    thread.start()
        self._woken.ring()

    def _run(self, name: str, work: Callable[[], None]) -> None:
        with self._lock:
            mine = self._threads[name] is threading.current_thread()
        if mine:  # else its start was interrupted, and another has its place
            work()

    def adopt(self, directory: SpoolDirectory, transport: Transport) -> None:
        """Deliver, besides, what dead processes left in this spool for this server; looked for once."""
        key = (str(directory.root), transport.address, transport.identity)
        with self._lock:
            if key not in self._adopted:
                self._adoptions.append(Adoption(directory, transport, self._dead_at_once))
                self._adopted.add(key)

    def _adopt(self) -> None:
        for adoption in list(self._adoptions):
            for job in adoption.given_up():
                self.forget(job)
            taken = adoption.taken_over()
            with self._lock:
                self._jobs += taken
                if adoption.over:
                    self._adoptions.remove(adoption)

    @property
    def is_adopting(self) -> bool:
        """Whether there may be dead streams that wait to be taken over."""
        return bool(self._adoptions)

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Within, requests follow one another without a pause; also within another's block that is left meanwhile."""
        somebody = object()
        self._hurried.add(somebody)
        try:
            yield
        finally:
            self._hurried.discard(somebody)

    def wake(self) -> None:
        """Look now whether something should be shipped."""
        self._woken.ring()

    def entered(self) -> None:
        """A segment was begun: the next one should be made."""
        self._entered.ring()

    def forget(self, job: StreamJob) -> None:
        """Leave a stream in the spool."""
        with self._lock:
            if job in self._jobs:
                self._jobs.remove(job)
        job.let_go()
        self._release_servers()

    def _release_servers(self) -> None:
        """Nothing is kept of a route that no stream takes any more."""
        used = {job.route for job in self.jobs()}
        self._servers = {key: server for key, server in self._servers.items() if key in used}

    def jobs(self) -> list[StreamJob]:
        """The streams at the moment."""
        with self._lock:
            return list(self._jobs)

    def why(self, job: StreamJob) -> str:
        """What keeps a stream in the spool; empty when nothing is known to be in the way."""
        server = self._servers.get(job.route)
        of_server = server.backoff.reason if server is not None else ""
        return job.manifest.benchmark.refused or job.backoff.reason or of_server

    # --- shipping ---------------------------------------------------------------------------------------

    def _ship_forever(self) -> None:
        while True:
            self._woken.wait(self._pause())
            try:
                self._adopt()
                while self.ship_once(time.monotonic()):
                    pass
            except Exception as error:  # noqa: BLE001 - the thread's edge: it must outlive whatever it meets
                tell(f"shipping met {type(error).__name__}: {error}; it goes on")
                time.sleep(1.0)

    def _pause(self) -> float:
        """Seconds until something may be due: what waits for a server's turn is sent when that comes."""
        if not self.jobs():
            return IDLE_SECONDS
        now = time.monotonic()
        turns = [server.backoff.not_before - now for server in self._servers.values()]
        return min([POLL_SECONDS, *(turn for turn in turns if turn > 0)])

    def ship_once(self, now: float) -> bool:
        """Send one request to each server that something is due for; true when there is more at once."""
        more = False
        groups: dict[Hashable, list[StreamJob]] = {}
        for job in self.jobs():
            if job.is_due(now):
                groups.setdefault(job.route, []).append(job)
        for route, jobs in groups.items():
            server = self._servers.setdefault(route, _Server(jobs[0].transport))
            server.transport = jobs[0].transport  # the one before may be closed
            if now >= server.backoff.not_before or (self._hurried and not server.backoff.failures):
                more = self._ship(server, jobs) or more
        return more

    def _ship(self, server: _Server, jobs: list[StreamJob]) -> bool:
        taken: dict[StreamJob, list[Item]] = {}
        began = time.thread_time()
        try:
            taken = self._items(jobs)
            size = sum(item.size for items in taken.values() for item in items)
            linger = self._deliver(server.transport, taken)
        except Exception as error:  # noqa: BLE001 - a server's edge: whatever its transport meets, the others go on
            self._postpone(server, error)
            self._settle(jobs, ())
            return False
        self._settle(jobs, taken)
        if size:
            server.backoff.worked()
        full = size >= REQUEST_BYTES
        if not full:
            worked = time.thread_time() - began
            pause = min(max(linger / 1000.0, MIN_INTERVAL, REST * worked), MAX_LINGER)
            server.backoff.not_before = time.monotonic() + pause
        return full

    def _items(self, jobs: list[StreamJob]) -> dict[StreamJob, list[Item]]:
        """A request's events; the streams share it, each with its part of what it may hold, if it can be read.

        Where there are too many for one request, those come first that have waited longest.
        """
        share = max(REQUEST_BYTES // max(len(jobs), 1), 64 * 1024)
        out: dict[StreamJob, list[Item]] = {}
        size = 0
        for job in sorted(jobs, key=lambda job: job.taken_at):
            if size >= REQUEST_BYTES:
                break
            try:
                if job.resolve_benchmark():
                    out[job] = framed(job, job.take(share))
                    size += sum(max(item.size, LEAST_BYTES) for item in out[job])
            except (TransportError, AuthError):
                raise
            except Exception as error:  # noqa: BLE001 - a stream's edge: what is wrong with one stops no other
                job.failed(error)
        return out

    def _deliver(self, transport: Transport, taken: dict[StreamJob, list[Item]]) -> int:
        """Deliver all in one request; where that meets something odd, each alone, and those that fail are left out."""
        try:
            return deliver(transport, [item for items in taken.values() for item in items])
        except (TransportError, AuthError):
            raise
        except Exception as error:
            sending = [job for job, items in taken.items() if items]
            failed = _deliver_each(transport, sending) if len(sending) > 1 else dict.fromkeys(sending, error)
            unsuspected = [job for job in sending if not job.backoff.failures]  # before this one
            if unsuspected and failed.keys() >= set(unsuspected):
                raise  # it is the server
        for job, reason in failed.items():
            job.failed(reason)
            del taken[job]
        return 0

    def _settle(self, jobs: list[StreamJob], delivered: Collection[StreamJob]) -> None:
        for job in jobs:
            try:
                job.release()
                if job in delivered:
                    job.worked()
            except Exception as error:  # noqa: BLE001 - a stream's edge, as above
                job.failed(error)
            for problem in job.problems:
                tell(problem)
            job.problems.clear()
            if job.done.is_set():
                with self._lock:
                    if job in self._jobs:  # else it was forgotten meanwhile
                        self._jobs.remove(job)
        self._release_servers()

    def _postpone(self, server: _Server, error: Exception) -> None:
        backoff, now = server.backoff, time.monotonic()
        backoff.failed(now, reason_of(error))
        if isinstance(error, TransportError):
            backoff.not_before = max(backoff.not_before, now + error.pause)
            return
        told = f"shipping to {server.transport.address} met {backoff.reason}; it is tried again"
        if isinstance(error, AuthError):
            backoff.not_before = now + AUTH_SECONDS
            told = f"the server asks for a credential ({error})"
        if backoff.told != told:
            backoff.told = told
            tell(f"{told}; recording goes on into the spool")

    # --- segments ---------------------------------------------------------------------------------------

    def _prepare_forever(self) -> None:
        while True:
            self._entered.wait(POLL_SECONDS if self.jobs() else IDLE_SECONDS)
            for job in self.jobs():
                writer = job.writer
                if writer is not None and not job.ended:
                    self._for_stream("preparing a segment", writer.prepare)

    def _cover_forever(self) -> None:
        covered = time.monotonic()
        while True:
            abandoned.end_what_comes(COVER_SECONDS if self.jobs() else IDLE_SECONDS)
            now = time.monotonic()
            cover = now - covered >= CHECKSUM_SECONDS
            covered = now if cover else covered
            self._keep(self.jobs(), cover=cover)

    def _keep(self, jobs: list[StreamJob], *, cover: bool) -> None:
        for job in jobs:
            self._for_stream("putting a segment away", job.upkeep.put_away)
            if cover:
                self._for_stream("keeping checksums", job.upkeep.keep_checksums)
        # Each recording has an object of its own for the spool that it shares with others.
        spools = {job.directory.root: job.directory for job in jobs} if cover else {}
        for directory in spools.values():
            self._for_stream("looking for room", directory.look)

    def _for_stream(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (SpoolFull, OSError):
            return  # the environment's thread meets it when it needs the segment, and says so
        except Exception as error:  # noqa: BLE001 - the thread's edge
            tell(f"{name} met {type(error).__name__}: {error}")
            time.sleep(1.0)


def _deliver_each(transport: Transport, jobs: list[StreamJob]) -> dict[StreamJob, Exception]:
    """Deliver what was taken, a request for each stream; the streams that fail, and why."""
    failed: dict[StreamJob, Exception] = {}
    for job in jobs:
        try:
            deliver(transport, framed(job, job.take(0)))
        except (TransportError, AuthError):
            raise
        except Exception as error:  # noqa: BLE001 - a stream's edge: what is wrong with one stops no other
            failed[job] = error
    return failed


_background: Background | None = None
_background_lock = threading.Lock()
_at_exit: list[Callable[[], None]] = []


def background() -> Background:
    """The background of this process; made at the first call, and anew in a forked child."""
    global _background  # noqa: PLW0603 - one per process is what it is
    if _background is not None and _background.pid == os.getpid():
        return _background
    with _background_lock:
        if _background is None or _background.pid != os.getpid():
            _background = Background()
        return _background


def after_fork_in_child() -> None:
    """The child has none of the parent's threads, and perhaps its locks held."""
    global _background, _background_lock  # noqa: PLW0603 - as above
    _background = None
    _background_lock = threading.Lock()


def at_exit(drain: Callable[[], None]) -> None:
    """Call `drain` once when the interpreter ends."""
    if not _at_exit:
        atexit.register(_run_at_exit)
    if drain not in _at_exit:
        _at_exit.append(drain)


def _run_at_exit() -> None:
    for drain in _at_exit:
        drain()
