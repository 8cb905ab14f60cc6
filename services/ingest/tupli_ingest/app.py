"""Composition of the ingest service over embedded parts: SQLite log, chDB, threads.

Importing this does nothing.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI

from tupli_ingest.adapters.chdb_client import ChdbClient
from tupli_ingest.adapters.data_lock import DataLock
from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.log_dead_letters import LogDeadLetters
from tupli_ingest.adapters.sqlite_log import LogLimits, SqliteLog
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import EpisodeKey, EpisodeStore, EventLog, StoredStream
from tupli_ingest.core.replaying import places_in
from tupli_ingest.gauges import EmbeddedEngines, watch_embedded
from tupli_ingest.http.bodies import InFlight
from tupli_ingest.http.commands import CommandLimits, Verdicts, commands_router
from tupli_ingest.http.dead_letters import dead_letters_router
from tupli_ingest.http.events import EventLimits, events_router
from tupli_ingest.http.gateway import Gateway
from tupli_ingest.http.health import Checks, health_router
from tupli_ingest.http.identity import Identify, local_caller
from tupli_ingest.http.problem_answers import RequestContext, install_problem_answers
from tupli_ingest.http.rebuilds import rebuild_router
from tupli_ingest.http.streams import EPISODE_COLUMNS, streams_router
from tupli_ingest.observing import NOT_OBSERVED, Observed, observe
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_ingest.processing.decoded import Decoded
from tupli_ingest.processing.eraser import Eraser
from tupli_ingest.processing.observed_log import ObservedLog
from tupli_ingest.processing.observed_store import ObservedStore
from tupli_ingest.processing.open_streams import OpenStreams
from tupli_ingest.processing.processor import BlockLimits, Engine, Processor
from tupli_ingest.processing.projector import Projector
from tupli_ingest.processing.readiness import Readiness
from tupli_ingest.processing.rebuilder import Opened, Parts, Rebuilder, RebuildLimits
from tupli_ingest.processing.watched_store import WatchedStore
from tupli_ingest.settings import IngestSettings

LOG_NAME: Final = "log.sqlite3"
STORE_NAME: Final = "store"
IN_FLIGHT_BODIES: Final = 8
LINGER_STEPS: Final = ((100, 2), (2_000, 10), (20_000, 40))
"""From so many records behind, recorders are asked to gather that many times as long."""
MAX_LINGER_MS: Final = 2_000
KNOWN_STREAMS: Final = 1_000
KNOWN_SECONDS: Final = 1.0


class IngestParts:
    """The service, put together but not started.

    Attributes:
        router: Routes under `/ingest/v1`, to be mounted in another app.
        app: An app of its own: the routes, `/livez`, `/readyz`, problem documents and request ids.
        store_path: The chDB folder, which others in this process may open to read.

    Raises:
        DataDirectoryBusy: Another process uses the folder; the message names it.
        IngestError: Log or store cannot be opened.
    """

    def __init__(
        self,
        settings: IngestSettings,
        *,
        data_dir: Path,
        clock: Callable[[], float],
        identify: Identify,
        observed: Observed,
    ) -> None:
        self.settings = settings
        self.observed = observed
        self._clock = clock
        self.store_path = data_dir / STORE_NAME
        with ExitStack() as opened:
            opened.callback(DataLock(data_dir).release)
            limits = LogLimits(
                settings.log_queue_bytes, settings.log_commit_bytes, settings.log_reserve_bytes
            )
            self.log = SqliteLog(data_dir / LOG_NAME, limits=limits)
            opened.callback(self.log.close)
            self._resources = opened
            self.generations = Generations(self._new_client(), max_step_tables=settings.max_step_tables)
            self.generations.migrate()
            for leftover in self.generations.others():
                self.generations.drop(leftover)
            self._build_workers()
            self._resources = opened.pop_all()
        self.router = self._build_router(identify)
        self.app = build_app(self)

    def _new_client(self) -> ChdbClient:
        """A handle of its own (calls on one handle take turns), closed with the service."""
        client = ChdbClient(self.store_path)
        self._resources.callback(client.close)
        return client

    def _build_workers(self) -> None:
        settings = self.settings
        self._decoded = Decoded()
        self._open_streams: dict[int, OpenStreams] = {}
        retry = settings.retry_max_s
        generation = self.generations.serving()
        self._view_client = self._new_client()
        self._view = self.generations.open(generation, client=self._view_client)
        self._view_generation = generation
        self._known_streams: dict[bytes, tuple[tuple[int, int], float, StoredStream]] = {}
        letters, limit = self._dead_letters()
        self.projector = Projector(
            self.log,
            self.log,
            letters,
            self._open_store(generation),
            generation,
            retry_max_s=retry,
            limit=limit,
        )
        self.eraser = Eraser(
            self._open_store(generation), generation, self.projector.is_deleted, retry_max_s=retry
        )
        self.projector.on_deleted = self.eraser.look_for
        self.processor = Processor(self._open(generation, start=None).engine, self.log, retry_max_s=retry)
        self.rebuilder = Rebuilder(
            self.generations,
            lambda following: self._open(following, start=0),
            Parts(self.processor, self.projector, self.eraser),
            limits=RebuildLimits(settings.catchup_pause_records, settings.old_generation_grace_s),
            retry_max_s=retry,
        )
        self._workers = {
            "projector": self.projector,
            "processor": self.processor,
            "eraser": self.eraser,
            "rebuilder": self.rebuilder,
        }
        for worker in self._workers.values():
            worker.meter, worker.tracer = self.observed.meter, self.observed.tracer
        engines = EmbeddedEngines(self.processor, self.projector, self.rebuilder, self._open_streams)
        watch_embedded(self.observed, engines, self.log)
        self.readiness = Readiness(self.log.writable, self._view, self._workers)
        self.readiness.caught_up = lambda: self.projector.lag <= 0

    def _open_store(self, generation: int) -> EpisodeStore:
        """A generation's store on a handle of its own."""
        self.generations.make(generation)
        return self.generations.open(generation, client=self._new_client())

    def _dead_letters(self) -> tuple[LogDeadLetters, DeadLetterLimit]:
        limit = dead_letter_limit(self.settings)
        return LogDeadLetters(self.log, limit=limit, now_ms=self._now_ms, meter=self.observed.meter), limit

    def _open(self, generation: int, *, start: int | None) -> Opened:
        """A generation's store and the engine that fills it, from `start` or where its group was."""
        store = self._open_store(generation)
        observed = ObservedStore(store, self.observed.meter, self.observed.tracer)
        self._open_streams[generation] = observed.open_streams
        letters, limit = self._dead_letters()
        settings = self.settings
        blocks = BlockLimits(settings.block_bytes, settings.block_rows, settings.read_bytes)

        def written(keys: list[EpisodeKey]) -> None:
            if self.eraser.generation == generation:
                self.eraser.written(keys)

        pipeline = Pipeline(WatchedStore(observed, written), letters)
        engine = Engine(
            generation, pipeline, self.log, self.log, blocks, limit, start=start, decoded=self._decoded
        )
        engine.meter, engine.tracer = self.observed.meter, self.observed.tracer
        return Opened(engine, store)

    def _build_router(self, identify: Identify) -> APIRouter:
        gateway = Gateway(self.projector.knows_benchmark, self._now_ms, self._decoded.keep)
        router = build_router(
            self.settings,
            self.log,
            gateway,
            self.projector,
            identify=identify,
            linger_ms=self._linger_ms,
            observed=self.observed,
        )
        router.include_router(streams_router(self._load_streams))
        router.include_router(rebuild_router(self.rebuilder))
        letters, _ = self._dead_letters()
        router.include_router(dead_letters_router(letters, self.log, places_in(self.log)))
        return router

    async def checks(self) -> dict[str, str]:
        """Names of readiness checks to what is wrong, an empty text for nothing."""
        return await asyncio.to_thread(self.readiness.checks)

    def start(self) -> None:
        """Start the threads."""
        for worker in self._workers.values():
            worker.start()

    def stop(self, timeout: float = 30.0) -> None:
        """Process what the log has, for at most `timeout` seconds, then close everything.

        What is not processed by then is kept by the log, and processed after the next start.
        """
        self.rebuilder.stop()
        self.processor.drain(timeout)
        self.processor.engine.close()
        for worker in (self.projector, self.eraser):
            worker.stop(timeout=5)
        self._resources.close()

    def _load_streams(self, streams: Collection[bytes]) -> dict[bytes, StoredStream]:
        """What the store knows; a recorder that waits asks many times between two blocks."""
        written = (self.processor.engine.generation, self.processor.engine.committed)
        now = time.monotonic()
        known = {stream: self._known_streams.get(stream) for stream in streams}
        found = {s: k[2] for s, k in known.items() if k and k[0] == written and now - k[1] <= KNOWN_SECONDS}
        missing = [stream for stream in streams if stream not in found]
        if missing:
            loaded = self._current_view().load_streams(dict.fromkeys(missing), columns=EPISODE_COLUMNS)
            if len(self._known_streams) + len(missing) > KNOWN_STREAMS:
                self._known_streams.clear()
            self._known_streams |= {stream: (written, now, loaded[stream]) for stream in missing}
            found |= loaded
        return found

    def _current_view(self) -> EpisodeStore:
        """The serving generation on the readers' handle."""
        generation = self.processor.engine.generation
        if generation != self._view_generation:
            self._view = self.generations.open(generation, client=self._view_client)
            self._view_generation = generation
        return self._view

    def _linger_ms(self) -> int:
        """How long recorders may gather rows: longer the further the processor is behind."""
        lag = self.processor.engine.lag
        return linger_of(self.settings.linger_ms, lag)

    def _now_ms(self) -> int:
        return int(self._clock() * 1_000)


def dead_letter_limit(settings: IngestSettings) -> DeadLetterLimit:
    """The limit that one processor keeps."""
    return DeadLetterLimit(
        ratio=settings.dead_letter_ratio,
        window=settings.dead_letter_window,
        run=settings.dead_letter_run,
    )


def linger_of(shortest_ms: int, lag: int) -> int:
    """How long recorders may gather rows when so many records are not processed yet."""
    factor = max((factor for records, factor in LINGER_STEPS if lag >= records), default=1)
    return min(shortest_ms * factor, MAX_LINGER_MS)


def build_router(
    settings: IngestSettings,
    log: EventLog,
    gateway: Gateway,
    verdicts: Verdicts,
    *,
    identify: Identify,
    linger_ms: Callable[[], int],
    observed: Observed,
) -> APIRouter:
    """The routes that write to the log: events and commands."""
    log = ObservedLog(log, observed.meter, observed.tracer)
    in_flight = InFlight(IN_FLIGHT_BODIES * settings.max_body_bytes, settings.retry_after_s)
    observed.watch_number("tupli_request_in_flight_bytes", lambda: in_flight.held_bytes)
    event_limits = EventLimits(settings.max_body_bytes, settings.max_event_bytes, settings.retry_after_s)
    command_limits = CommandLimits(
        settings.max_command_bytes, settings.command_timeout_s, settings.retry_after_s
    )
    router = APIRouter()
    router.include_router(
        events_router(
            log,
            gateway.events,
            identify=identify,
            in_flight=in_flight,
            limits=event_limits,
            linger_ms=linger_ms,
            meter=observed.meter,
        )
    )
    router.include_router(
        commands_router(
            log, verdicts, gateway.command, identify=identify, in_flight=in_flight, limits=command_limits
        )
    )
    return router


def build_app(parts: IngestParts) -> FastAPI:
    """The service's own app; it neither starts nor stops the parts."""
    return framed_app(parts.router, parts.checks, parts.observed)


def framed_app(router: APIRouter, checks: Checks, observed: Observed = NOT_OBSERVED, **more: Any) -> FastAPI:
    """An app of routes: with health, figures, problem documents and request ids."""
    app = FastAPI(title="Tupli ingest", docs_url=None, redoc_url=None, openapi_url=None, **more)
    app.include_router(router)
    app.include_router(health_router(checks))
    app.include_router(observed.router())
    install_problem_answers(app)
    app.add_middleware(RequestContext, clock=time.monotonic, meter=observed.meter, tracer=observed.tracer)
    return app


def build(
    settings: IngestSettings,
    *,
    data_dir: Path,
    clock: Callable[[], float] = time.time,
    identify: Identify = local_caller,
    observed: Observed | None = None,
) -> IngestParts:
    """The service on a data directory, which stays locked until `stop`.

    `clock` gives seconds since the epoch; what is observed follows the settings when it is left out.

    Raises:
        DataDirectoryBusy: Another process uses the folder; the message names it.
        IngestError: Log or store cannot be opened.
    """
    if observed is None:
        observed = observe(settings, "tupli")
    return IngestParts(settings, data_dir=data_dir, clock=clock, identify=identify, observed=observed)
