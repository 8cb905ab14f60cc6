"""What fills one generation in a worker process: a member of its consumer group, and its catalogue."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

import structlog

from tupli_ingest.adapters.faust_engine import GroupLimits
from tupli_ingest.adapters.grant_keys import GrantKeys
from tupli_ingest.adapters.kafka_groups import group_of
from tupli_ingest.adapters.kafka_topics import partitioner
from tupli_ingest.core.direct import DirectDecoder
from tupli_ingest.core.errors import Bug
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.grown.parts import ClusterParts
from tupli_ingest.processing.block_writer import BlockWriter, WriterLimits
from tupli_ingest.processing.eraser import Eraser
from tupli_ingest.processing.observed_store import ObservedStore
from tupli_ingest.processing.projector import Projector
from tupli_ingest.processing.readiness import LaneState
from tupli_ingest.processing.watchdog import Watchdog
from tupli_ingest.processing.watched_store import WatchedStore
from tupli_schemas.events import DIRECT_TOPIC

STOP_SECONDS: Final = 4.0
"""With what else has to end, less than ten seconds, also where the store hangs and the machine is busy."""
TIDY_SECONDS: Final = 60.0


class Lane:
    """One generation's writer, projector and eraser, between `start` and `stop`."""

    def __init__(self, parts: ClusterParts, generation: int) -> None:
        settings = parts.settings
        self.generation = generation
        self._watchdog_s = settings.watchdog_s
        self._watchdog = Watchdog()
        self._ended = ""
        meter, tracer = parts.observed.meter, parts.observed.tracer
        store = self._store = ObservedStore(parts.generations.open(generation), meter, tracer)
        of_commands, of_commands_limit = parts.dead_letters()
        self.projector = Projector(
            parts.log,
            parts.log,
            of_commands,
            store,
            generation,
            retry_max_s=settings.retry_max_s,
            limit=of_commands_limit,
        )
        self.eraser = Eraser(
            store,
            generation,
            self.projector.is_deleted,
            retry_max_s=settings.retry_max_s,
            tidy_s=TIDY_SECONDS,
        )
        self.projector.on_deleted = self.eraser.look_for
        letters, limit = parts.dead_letters()
        watched = WatchedStore(store, self.eraser.written)

        def new_pipeline() -> Pipeline:
            store.open_streams.clear()  # other members have written since
            return Pipeline(watched, letters)

        self.writer = BlockWriter(
            new_pipeline,
            WriterLimits(settings.worker_block_bytes, waiting_bytes=2 * settings.worker_block_bytes),
            limit,
            retry_max_s=settings.retry_max_s,
            decode=DirectDecoder(GrantKeys(settings.grant_keys), self._partition_of),
        )
        self._kafka, self._means = parts.kafka, parts.means
        self._placed: Callable[[bytes], int] | None = None
        self.workers = {"projector": self.projector, "eraser": self.eraser, "writer": self.writer}
        for worker in self.workers.values():
            worker.meter, worker.tracer = meter, tracer
        self.engine = parts.means.engine(
            parts.kafka,
            group_of(generation),
            self.writer.put,
            limits=GroupLimits.of_session(settings.group_session_s),
            on_end=self._on_end,
            is_tracing=parts.observed.is_tracing,
        )

    async def start(self) -> None:
        """Start the threads, and join the group.

        Raises:
            LogUnavailable: The brokers do not answer, or a topic is missing.
        """
        self._placed = partitioner(await self._means.partitions(self._kafka, DIRECT_TOPIC))
        for worker in self.workers.values():
            worker.start()
        await self.engine.start()
        structlog.get_logger("tupli_ingest.worker").info("works", generation=self.generation)

    async def stop(self) -> None:
        """Finish the block that is under way if the store lets us, commit, and leave the group."""
        async with AsyncExitStack() as then:  # each of them, also where one before it fails
            then.push_async_callback(self.engine.stop)
            stopping = (asyncio.to_thread(worker.stop, STOP_SECONDS) for worker in self.workers.values())
            await asyncio.gather(*stopping)  # at once: where the store hangs, each takes all of its time

    def why_it_ends(self) -> str:
        """What has ended one of its parts, or that nothing moves; empty while it works."""
        failed = (worker.failure for worker in self.workers.values() if worker.failure)
        return self._ended or next(failed, "") or self._stands_still()

    def state(self) -> LaneState:
        """What is known of it without asking anybody."""
        parts = {name: worker.problem for name, worker in self.workers.items()}
        return LaneState(parts, self.engine.assignment(), self.projector.caught_up)

    @property
    def open_streams(self) -> int:
        """Recording streams that are under way in its partitions, as far as they had news since they are its."""
        return self._store.open_streams.count()

    def _stands_still(self) -> str:
        """Whether records wait, nothing moves, and nothing says why: then a new process may do better."""
        waits = not self.writer.is_idle or any(self.engine.lags().values())
        still_s = self._watchdog.look(
            self._means.clock(), waits=waits and not self.writer.trouble, moves=self.writer.blocks
        )
        if still_s < self._watchdog_s:
            return ""
        return f"no progress for {still_s:.0f} s, though records wait and the store answers"

    def _partition_of(self, key: bytes) -> int:
        """Where records of a stream belong that go straight to Kafka."""
        if self._placed is None:
            raise Bug("records were delivered before the topic's partitions were known")
        return self._placed(key)

    def _on_end(self, reason: str) -> None:
        self._ended = self._ended or reason
