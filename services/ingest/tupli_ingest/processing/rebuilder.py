"""Rebuild: fill the next generation from the log beside the serving one, then let it serve."""

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from tupli_ingest.core.errors import Stopped
from tupli_ingest.core.ports import EpisodeStore
from tupli_ingest.processing.eraser import Eraser
from tupli_ingest.processing.processor import Engine, Processor
from tupli_ingest.processing.projector import Projector
from tupli_ingest.processing.worker import Worker


class Switch(Protocol):
    """Which generation serves."""

    def serving(self) -> int:
        """The generation that queries read."""
        ...

    def others(self) -> list[int]:
        """The generations that exist and do not serve."""
        ...

    def switch(self, generation: int) -> None:
        """Let this generation serve from now on."""
        ...

    def drop(self, generation: int) -> None:
        """Remove a generation that does not serve."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A generation that is ready to be filled from the log's beginning."""

    engine: Engine
    store: EpisodeStore


@dataclass(slots=True)
class Job:
    """One rebuild."""

    id: str
    generation: int
    state: str = "running"
    reason: str = ""
    began: float = 0.0
    engine: Engine | None = None
    end: int = 0

    def progress(self, now: float) -> dict[str, Any]:
        """What the caller sees; `rate` is in records a second."""
        offset = self.engine.committed if self.engine else 0
        seconds = max(now - self.began, 1e-9)
        return {
            "job": self.id,
            "state": self.state,
            "reason": self.reason,
            "generation": self.generation,
            "offset": offset,
            "end": self.end,
            "rate": offset / seconds,
        }


@dataclass(frozen=True, slots=True)
class Parts:
    """What a rebuild holds still, and hands the new generation to."""

    processor: Processor
    projector: Projector
    eraser: Eraser


@dataclass(frozen=True, slots=True)
class RebuildLimits:
    """When the serving generation is held (records before the log's end), and how long an old one stays."""

    pause_records: int = 2_000
    grace_s: float = 60.0


@dataclass(slots=True)
class _Old:
    generation: int
    drop_at: float


class Rebuilder(Worker):
    """Runs one rebuild at a time in its thread, and drops generations that serve no more after a grace."""

    def __init__(
        self,
        switch: Switch,
        open_generation: Callable[[int], Opened],
        parts: Parts,
        *,
        limits: RebuildLimits,
        retry_max_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("rebuilder", retry_max_s=retry_max_s)
        self._switch = switch
        self._open = open_generation
        self._parts = parts
        self._limits = limits
        self._clock = clock
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._old: list[_Old] = []

    def request(self) -> str:
        """The id of the job that begins now, or of the one that runs."""
        with self._lock:
            if self._job is None or self._job.state != "running":
                self._job = Job(secrets.token_hex(8), 0, began=self._clock())
                self._wanted.set()
            return self._job.id

    def progress(self) -> dict[str, Any]:
        """The last job: state (`idle, running, done, failed`), generation, offset, end, records a second."""
        job = self._job
        return {"state": "idle"} if job is None else job.progress(self._clock())

    def wake(self) -> None:
        """End the wait for a request."""
        self._wanted.set()

    def round(self) -> None:
        """Run the job that was asked for; drop what has served its grace."""
        asked = self._wanted.wait(0.5)
        self._wanted.clear()
        job = self._job
        if asked and job is not None and job.state == "running" and not self.stopping:
            self._run_job(job)
        for old in [old for old in self._old if self._clock() >= old.drop_at]:
            self.retry(lambda old=old: self._switch.drop(old.generation), "dropping a generation")  # type: ignore[misc]  # the default is the type
            self._old.remove(old)

    def _run_job(self, job: Job) -> None:
        before = self.retry(self._switch.serving, "asking which generation serves")
        try:
            self._rebuild(job)
        except Stopped:
            job.state, job.reason = "failed", "the server stopped"
            raise
        except Exception as error:  # noqa: BLE001 -- the edge of the job: the serving generation goes on
            job.state, job.reason = "failed", f"{type(error).__name__}; the log of the server says more"
            structlog.get_logger("tupli_ingest.rebuilder").exception("rebuild failed")
            serving = self.retry(self._switch.serving, "asking which generation serves")
            if job.generation and job.generation != serving:
                self.retry(lambda: self._switch.drop(job.generation), "dropping a generation")
            return
        job.state = "done"
        self._old.append(_Old(before, self._clock() + self._limits.grace_s))

    def _rebuild(self, job: Job) -> None:
        job.generation = self.retry(self._following, "asking which generations there are")
        opened = self.retry(lambda: self._open(job.generation), "opening the next generation")
        engine = job.engine = opened.engine
        self._fill(job, engine, self._limits.pause_records)
        with ExitStack() as held:
            held.enter_context(self._parts.eraser.between)
            held.enter_context(self._parts.projector.held())
            held.enter_context(self._parts.processor.held())
            self._fill(job, engine, 0)
            self.retry(lambda: self._parts.projector.fill(opened.store), "filling the catalogue")
            self.retry(lambda: self._parts.projector.erase_all(opened.store), "erasing what was deleted")
            self.retry(lambda: self._switch.switch(job.generation), "switching")
            self._parts.processor.engine = engine
            self._parts.projector.use(opened.store, job.generation)
            self._parts.eraser.use(opened.store, job.generation)

    def _following(self) -> int:
        return max([self._switch.serving(), *self._switch.others()]) + 1

    def _fill(self, job: Job, engine: Engine, until: int) -> None:
        """Process the log until at most this many records are left."""
        while (lag := self._lag(engine)) > until:
            if self.stopping:
                raise Stopped
            job.end = engine.committed + lag
            while not self.retry(engine.collect, "reading the log"):
                pass
            self.retry(engine.write, "writing a block")
        job.end = engine.committed + self._lag(engine)

    def _lag(self, engine: Engine) -> int:
        return self.retry(lambda: engine.lag, "reading the log")
