"""Composition of the grown system: gateways and workers over Kafka and ClickHouse, each a process of its own.

Importing this does nothing. What several processes do at once is harmless: catalogue rows, step rows and
headers are the same, whoever writes them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from typing import Final, Protocol, TypeVar

import structlog
from fastapi import FastAPI

from tupli_ingest.adapters.clickhouse_client import ClickHouseConnection
from tupli_ingest.adapters.clickhouse_cluster import require_fit
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_log import ProducerLimits
from tupli_ingest.adapters.kafka_places import kafka_places
from tupli_ingest.adapters.log_dead_letters import LogDeadLetters
from tupli_ingest.app import MAX_LINGER_MS, build_router, dead_letter_limit, framed_app
from tupli_ingest.clock import now_ms
from tupli_ingest.core.errors import LogUnavailable, Unavailable
from tupli_ingest.core.plan import Plan
from tupli_ingest.core.ports import EpisodeStore, StoredStream
from tupli_ingest.gauges import catalogue_lag
from tupli_ingest.grown.means import REAL, Means
from tupli_ingest.grown.rebuilds import ClusterRebuilds
from tupli_ingest.http.dead_letters import dead_letters_router
from tupli_ingest.http.gateway import Gateway
from tupli_ingest.http.identity import Identify, local_caller
from tupli_ingest.http.rebuilds import rebuild_router
from tupli_ingest.http.streams import EPISODE_COLUMNS, streams_router
from tupli_ingest.observing import NOT_OBSERVED, Observed
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_ingest.processing.plan_watcher import PlanWatcher
from tupli_ingest.processing.projector import Projector
from tupli_ingest.processing.readiness import Readiness
from tupli_ingest.settings import IngestSettings

P = TypeVar("P", bound="Closable")
STOP_SECONDS: Final = 5.0
WATCHER_STOP_SECONDS: Final = 0.5
"""It only reads: where the store hangs, there is nothing to wait for."""
POLL_SECONDS: Final = 0.5


class Closable(Protocol):
    """What holds connections."""

    def close(self) -> None:
        """Let go of them."""
        ...


class ClusterParts:
    """What gateway and worker have in common: log, store, catalogue.

    Raises:
        IngestError: Log or store do not answer, or are not made yet (`tupli admin`).
    """

    def __init__(
        self,
        settings: IngestSettings,
        kafka: KafkaConnection,
        clickhouse: ClickHouseConnection,
        observed: Observed = NOT_OBSERVED,
        *,
        means: Means = REAL,
    ) -> None:
        self.settings = settings
        self.means = means
        self.kafka = kafka
        self.observed = observed
        with ExitStack() as opened:  # what is made before a failure is closed: it is tried again and again
            self._opened = opened
            self._build(clickhouse)
            self._opened = opened.pop_all()

    def _build(self, clickhouse: ClickHouseConnection) -> None:
        settings = self.settings
        self.client = self.means.client(clickhouse)
        self._opened.callback(self.client.close)
        require_fit(self.client, self.client.cluster)
        self.generations = self.means.generations(self.client, max_step_tables=settings.max_step_tables)
        self.watcher = PlanWatcher(self.generations.plan, retry_max_s=settings.retry_max_s)
        self.watcher.meter = self.observed.meter
        self.observed.watch_plan(lambda: self.watcher.plan)
        self._opened.callback(self.watcher.stop, WATCHER_STOP_SECONDS)
        self.log = self.means.log(self.kafka)
        self._opened.callback(self.log.close)

    def dead_letters(self) -> tuple[LogDeadLetters, DeadLetterLimit]:
        """A place for dead letters, and the limit that it keeps."""
        limit = dead_letter_limit(self.settings)
        return LogDeadLetters(self.log, limit=limit, now_ms=now_ms, meter=self.observed.meter), limit

    def close(self) -> None:
        """Let go of everything, also where one of the parts fails to."""
        self._opened.close()


class GatewayParts(ClusterParts):
    """A gateway: takes events and commands over HTTP and appends them to the log."""

    def __init__(
        self,
        settings: IngestSettings,
        kafka: KafkaConnection,
        clickhouse: ClickHouseConnection,
        observed: Observed = NOT_OBSERVED,
        *,
        identify: Identify = local_caller,
        means: Means = REAL,
    ) -> None:
        self._identify = identify
        super().__init__(settings, kafka, clickhouse, observed, means=means)

    def _build(self, clickhouse: ClickHouseConnection) -> None:
        super()._build(clickhouse)
        settings = self.settings
        self._view: EpisodeStore = self.generations.open(self.watcher.plan.serving)
        letters, limit = self.dead_letters()
        self.projector = Projector(
            self.log,
            self.log,
            letters,
            self._view,
            self.watcher.plan.serving,
            retry_max_s=settings.retry_max_s,
            limit=limit,
        )
        self._opened.callback(self.projector.stop, STOP_SECONDS)
        self.projector.meter = self.observed.meter
        self.watcher.on_serving = self._serve
        self.events = self.means.events(self.kafka, limits=ProducerLimits(settings.log_queue_bytes))
        self.events.traceparent = self.observed.tracer.traceparent
        self.observed.watch_number("tupli_log_in_flight_bytes", lambda: self.events.in_flight_bytes)
        self.observed.watch(
            "tupli_lag_records", lambda: catalogue_lag(self.projector, self.watcher.plan.serving)
        )
        gateway = Gateway(self.projector.knows_benchmark, now_ms, lambda _payload, _checked: None)
        router = build_router(
            settings,
            self.events,
            gateway,
            self.projector,
            identify=self._identify,
            linger_ms=self.linger_ms,
            observed=self.observed,
        )
        router.include_router(streams_router(self._load_streams))
        router.include_router(
            rebuild_router(ClusterRebuilds(self.generations, self.means.groups(self.kafka)))
        )
        router.include_router(dead_letters_router(letters, self.events, kafka_places(self.kafka)))
        self.readiness = Readiness(self.events.is_writable, self._view, {"projector": self.projector})
        self.readiness.caught_up = lambda: self.projector.caught_up
        self.app = framed_app(router, self.checks, self.observed, lifespan=self.running)

    @asynccontextmanager
    async def running(self, _: FastAPI | None = None) -> AsyncIterator[None]:
        """Within, the gateway works."""
        async with AsyncExitStack() as then:
            then.push_async_callback(asyncio.to_thread, self.close)
            then.push_async_callback(self.events.stop)
            self.watcher.start()
            self.projector.start()
            try:
                await self.events.start()
            except LogUnavailable as error:  # it goes on trying; readiness says so
                log = structlog.get_logger("tupli_ingest.gateway")
                log.warning("the log does not answer", error=str(error))
            yield

    async def checks(self) -> dict[str, str]:
        """Names of readiness checks to what is wrong, an empty text for nothing."""
        return await asyncio.to_thread(self.readiness.checks)

    def linger_ms(self) -> int:
        """How long recorders may gather rows: longer the more bytes are on their way to the brokers."""
        share = self.events.in_flight_bytes / self.settings.log_queue_bytes
        return linger_under_load(self.settings.linger_ms, share)

    def _load_streams(self, streams: Collection[bytes]) -> dict[bytes, StoredStream]:
        """What the serving generation knows of streams."""
        return self._view.load_streams(dict.fromkeys(streams), columns=EPISODE_COLUMNS)

    def _serve(self, plan: Plan) -> None:
        """Another generation serves: the catalogue is written there, and streams are looked up there."""
        store = self.generations.open(plan.serving)
        with self.projector.held():
            self.projector.use(store, plan.serving)
        self._view = store


def linger_under_load(shortest_ms: int, share: float) -> int:
    """How long recorders may gather rows when this share of what may be on its way is; the longest from half on."""
    return max(shortest_ms, min(MAX_LINGER_MS, int(2 * share * MAX_LINGER_MS)))


async def once_available(
    make: Callable[[], P], stop: asyncio.Event, tell: Callable[[str], None] = lambda _: None
) -> P | None:
    """What `make` makes, as soon as log and store let it; None when `stop` comes first.

    `tell` hears what it waits for.
    """
    log = structlog.get_logger("tupli_ingest.cluster")
    while not stop.is_set():
        try:
            made = await _made_before(stop, make)
            if made is None:
                break
            if stop.is_set():
                await asyncio.to_thread(made.close)
                break
            return made
        except Unavailable as error:
            log.warning("waiting", reason=str(error))
            tell(str(error))
        await _is_set_within(stop, 2 * POLL_SECONDS)
    return None


async def _made_before(stop: asyncio.Event, make: Callable[[], P]) -> P | None:
    """What `make` makes; None when that takes longer than `STOP_SECONDS` after `stop`: then nobody waits for it."""
    making, stopped = asyncio.create_task(asyncio.to_thread(make)), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({making, stopped}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({making}, timeout=STOP_SECONDS if stop.is_set() else None)
        return making.result() if making.done() else None
    finally:
        stopped.cancel()
        making.cancel()


async def _is_set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, for so long at most."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
