"""Composition of the grown system: gateways and workers over Kafka and ClickHouse, each a process of its own.

Importing this does nothing. What several processes do at once is harmless: catalogue rows, step rows and
headers are the same, whoever writes them.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeVar

import structlog
from fastapi import FastAPI

from tupli_ingest.adapters.clickhouse_client import ClickHouseClient, ClickHouseConnection
from tupli_ingest.adapters.faust_engine import FaustEngine
from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_log import KafkaLog, ProducerLimits
from tupli_ingest.adapters.kafka_reader import ThreadLog
from tupli_ingest.adapters.log_dead_letters import LogDeadLetters
from tupli_ingest.app import build_router, dead_letter_limit, framed_app
from tupli_ingest.core.errors import LogUnavailable, Unavailable
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import EpisodeStore, StoredStream
from tupli_ingest.http.gateway import Gateway
from tupli_ingest.http.identity import Identify, local_caller
from tupli_ingest.http.streams import EPISODE_COLUMNS, streams_router
from tupli_ingest.processing.block_writer import BlockWriter, WriterLimits
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_ingest.processing.eraser import Eraser
from tupli_ingest.processing.projector import Projector
from tupli_ingest.processing.readiness import Readiness
from tupli_ingest.processing.watched_store import WatchedStore
from tupli_ingest.settings import IngestSettings

P = TypeVar("P", bound="ClusterParts")
STOP_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.5
LOOK_SECONDS: Final = 1.0
"""For so long the serving generation is taken as it was."""


class ClusterParts:
    """What gateway and worker have in common: log, store, catalogue.

    Raises:
        IngestError: Log or store do not answer, or are not made yet (`tupli admin`).
    """

    def __init__(
        self, settings: IngestSettings, kafka: KafkaConnection, clickhouse: ClickHouseConnection
    ) -> None:
        self.settings = settings
        self.kafka = kafka
        self.client = ClickHouseClient(clickhouse)
        self.generations = Generations(self.client, max_step_tables=settings.max_step_tables)
        self.generation = self.generations.serving()
        self.store: EpisodeStore = self.generations.open(self.generation)
        self.log = ThreadLog(kafka)  # last: it has a thread
        letters, _ = self.dead_letters()
        self.projector = Projector(
            self.log, self.log, letters, self.store, self.generation, retry_max_s=settings.retry_max_s
        )

    def dead_letters(self) -> tuple[LogDeadLetters, DeadLetterLimit]:
        """A place for dead letters, and the limit that it keeps."""
        limit = dead_letter_limit(self.settings)
        return LogDeadLetters(self.log, limit=limit.check, now_ms=now_ms), limit

    def close(self) -> None:
        """Let go of everything."""
        self.projector.stop(timeout=STOP_SECONDS)
        self.log.close()
        self.client.close()


class WorkerParts(ClusterParts):
    """A stream processor: a member of the consumer group of the serving generation."""

    def __init__(
        self, settings: IngestSettings, kafka: KafkaConnection, clickhouse: ClickHouseConnection
    ) -> None:
        super().__init__(settings, kafka, clickhouse)
        self.eraser = Eraser(
            self.store, self.generation, self.projector.is_deleted, retry_max_s=settings.retry_max_s
        )
        self.projector.on_deleted = self.eraser.look_for
        letters, limit = self.dead_letters()
        store = WatchedStore(self.store, self.eraser.written)
        self.writer = BlockWriter(
            lambda: Pipeline(store, letters),
            WriterLimits(settings.block_bytes, settings.block_rows),
            limit,
            retry_max_s=settings.retry_max_s,
        )
        self.ended = ""
        self.engine = FaustEngine(kafka, f"g{self.generation}", self.writer.put, on_end=self._on_end)

    async def run(self, stop: asyncio.Event) -> str:
        """Work until `stop` is set or something ends it; what ended it, empty for `stop`."""
        for worker in (self.projector, self.eraser, self.writer):
            worker.start()
        await self.engine.start()
        structlog.get_logger("tupli_ingest.worker").info("works", generation=self.generation)
        try:
            while not stop.is_set() and not (why := self._why_it_ends()):
                await _is_set_within(stop, POLL_SECONDS)
        finally:
            await self._stop()
        return "" if stop.is_set() else why

    def _why_it_ends(self) -> str:
        workers = (self.writer, self.projector, self.eraser)
        return self.ended or next((w.failure for w in workers if w.failure), "") or self._stands_still()

    def _stands_still(self) -> str:
        """Whether records wait, nothing moves, and nothing says why: then a new process may do better."""
        idle_s = time.monotonic() - self.writer.progress_at
        if idle_s < self.settings.watchdog_s or self.writer.trouble or not any(self.engine.lags().values()):
            return ""
        return f"no progress for {idle_s:.0f} s, though records wait and the store answers"

    def _on_end(self, reason: str) -> None:
        self.ended = self.ended or reason

    async def _stop(self) -> None:
        """Finish the block that is under way if the store lets us, commit, and leave the group."""
        await asyncio.to_thread(self.writer.stop, STOP_SECONDS)
        await self.engine.stop()
        await asyncio.to_thread(self.eraser.stop, STOP_SECONDS)
        await asyncio.to_thread(self.close)


class GatewayParts(ClusterParts):
    """A gateway: takes events and commands over HTTP and appends them to the log."""

    def __init__(
        self,
        settings: IngestSettings,
        kafka: KafkaConnection,
        clickhouse: ClickHouseConnection,
        *,
        identify: Identify = local_caller,
    ) -> None:
        super().__init__(settings, kafka, clickhouse)
        self.events = KafkaLog(kafka, limits=ProducerLimits(settings.log_queue_bytes))
        gateway = Gateway(self.projector.knows_benchmark, now_ms, lambda _payload, _checked: None)
        router = build_router(
            settings,
            self.events,
            gateway,
            self.projector,
            identify=identify,
            linger_ms=lambda: settings.linger_ms,
        )
        self._view = self.store
        self._view_lock = threading.Lock()
        self._looked_at = time.monotonic()
        router.include_router(streams_router(self._load_stream))
        self.readiness = Readiness(self.events.is_writable, self._view, {"projector": self.projector})
        self.readiness.caught_up = lambda: self.projector.lag <= 0
        self.app = framed_app(router, self._checks, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        self.projector.start()
        try:
            await self.events.start()
        except LogUnavailable as error:  # it is tried again with the first request
            structlog.get_logger("tupli_ingest.gateway").warning("the log does not answer", error=str(error))
        yield
        await self.events.stop()
        await asyncio.to_thread(self.close)

    async def _checks(self) -> dict[str, str]:
        return await asyncio.to_thread(self.readiness.checks)

    def _load_stream(self, stream: bytes) -> StoredStream:
        """What the serving generation knows of a stream."""
        with self._view_lock:
            if time.monotonic() - self._looked_at > LOOK_SECONDS:
                serving = self.generations.serving()
                if serving != self.generation:
                    self.generation, self._view = serving, self.generations.open(serving)
                self._looked_at = time.monotonic()
            view = self._view
        return view.load_streams({stream: None}, columns=EPISODE_COLUMNS)[stream]


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


async def once_available(make: Callable[[], P], stop: asyncio.Event) -> P | None:
    """What `make` makes, as soon as log and store let it; None when `stop` comes first."""
    log = structlog.get_logger("tupli_ingest.cluster")
    while not stop.is_set():
        try:
            return await asyncio.to_thread(make)
        except Unavailable as error:
            log.warning("waiting", reason=str(error))
        await _is_set_within(stop, 2 * POLL_SECONDS)
    return None


async def _is_set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, for so long at most."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
