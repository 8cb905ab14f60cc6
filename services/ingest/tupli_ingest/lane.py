"""What fills one generation in a worker process: a member of its consumer group, and its catalogue."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Final

import structlog

from tupli_ingest.adapters.faust_engine import FaustEngine
from tupli_ingest.adapters.kafka_groups import group_of
from tupli_ingest.cluster import ClusterParts
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.processing.block_writer import BlockWriter, WriterLimits
from tupli_ingest.processing.eraser import Eraser
from tupli_ingest.processing.projector import Projector
from tupli_ingest.processing.watchdog import Watchdog
from tupli_ingest.processing.watched_store import WatchedStore

STOP_SECONDS: Final = 5.0


class Lane:
    """One generation's writer, projector and eraser, between `start` and `stop`."""

    def __init__(self, parts: ClusterParts, generation: int) -> None:
        settings = parts.settings
        self.generation = generation
        self._watchdog_s = settings.watchdog_s
        self._watchdog = Watchdog()
        self._ended = ""
        store = parts.generations.open(generation)
        of_commands, _ = parts.dead_letters()
        self.projector = Projector(
            parts.log, parts.log, of_commands, store, generation, retry_max_s=settings.retry_max_s
        )
        self.eraser = Eraser(store, generation, self.projector.is_deleted, retry_max_s=settings.retry_max_s)
        self.projector.on_deleted = self.eraser.look_for
        letters, limit = parts.dead_letters()
        watched = WatchedStore(store, self.eraser.written)
        self.writer = BlockWriter(
            lambda: Pipeline(watched, letters),
            WriterLimits(settings.block_bytes),
            limit,
            retry_max_s=settings.retry_max_s,
        )
        self.engine = FaustEngine(parts.kafka, group_of(generation), self.writer.put, on_end=self._on_end)

    async def start(self) -> None:
        """Start the threads, and join the group."""
        for worker in (self.projector, self.eraser, self.writer):
            worker.start()
        await self.engine.start()
        structlog.get_logger("tupli_ingest.worker").info("works", generation=self.generation)

    async def stop(self) -> None:
        """Finish the block that is under way if the store lets us, commit, and leave the group."""
        async with AsyncExitStack() as then:  # each of them, also where one before it fails
            then.push_async_callback(asyncio.to_thread, self.projector.stop, STOP_SECONDS)
            then.push_async_callback(asyncio.to_thread, self.eraser.stop, STOP_SECONDS)
            then.push_async_callback(self.engine.stop)
            await asyncio.to_thread(self.writer.stop, STOP_SECONDS)

    def why_it_ends(self) -> str:
        """What has ended one of its parts, or that nothing moves; empty while it works."""
        workers = (self.writer, self.projector, self.eraser)
        return self._ended or next((w.failure for w in workers if w.failure), "") or self._stands_still()

    def _stands_still(self) -> str:
        """Whether records wait, nothing moves, and nothing says why: then a new process may do better."""
        waits = not self.writer.is_idle or any(self.engine.lags().values())
        still_s = self._watchdog.look(
            time.monotonic(), waits=waits and not self.writer.trouble, moves=self.writer.blocks
        )
        if still_s < self._watchdog_s:
            return ""
        return f"no progress for {still_s:.0f} s, though records wait and the store answers"

    def _on_end(self, reason: str) -> None:
        self._ended = self._ended or reason
