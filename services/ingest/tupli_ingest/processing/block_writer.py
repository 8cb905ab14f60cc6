"""Blocks out of what a consumer group delivers: folded in the order of each partition, written, then told.

A *generation* is one assignment of partitions to this member of the group. What a generation folded knows
nothing of what other members have written since; every generation therefore has a pipeline of its own, which
asks the store. Within a generation each partition's records come without a hole, or the process must end.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tupli_ingest.core.decoding import Item, decode_record
from tupli_ingest.core.direct import Decode
from tupli_ingest.core.errors import Bug, Stopped
from tupli_ingest.core.meters import BlockFigures
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.tracing import MAX_LINKS
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_ingest.processing.worker import Worker
from tupli_schemas.records import Record

WAIT_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """How many bytes of records a block takes of those that wait, and how many may wait."""

    block_bytes: int = 8 * 1024 * 1024
    waiting_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Delivery:
    """Records of one generation, in the order of their partitions; `written` is called once they are durable.

    `links` are the places in traces that the records came from.
    """

    generation: int
    items: Sequence[Item]
    size: int
    written: Callable[[], None]
    links: Sequence[str] = ()


class BlockWriter(Worker):
    """A thread that folds deliveries and writes blocks; a failing store is tried again, for as long as it takes.

    `new_pipeline` makes the pipeline of a generation, on the serving store; `decode` makes items of records, on the
    thread that delivers them.
    """

    def __init__(
        self,
        new_pipeline: Callable[[], Pipeline],
        limits: WriterLimits,
        dead_letters: DeadLetterLimit,
        *,
        retry_max_s: float,
        decode: Decode = decode_record,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__("writer", retry_max_s=retry_max_s)
        self._clock = clock
        self._decode = decode
        self._new_pipeline = new_pipeline
        self._limits = limits
        self._dead_letters = dead_letters
        self._waiting: deque[Delivery] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._order = _Order()
        self._pipeline: Pipeline | None = None
        self._generation = -1
        self.blocks = 0
        """Blocks that were written."""

    def put(
        self,
        generation: int,
        records: Sequence[Record],
        written: Callable[[], None],
        links: Sequence[str] = (),
    ) -> None:
        """Take what was delivered; waits while too much waits already. Used by one thread at a time.

        Raises:
            Stopped: The writer was asked to stop, or has ended: nothing was taken.
            Bug: A record is missing before one of these; the process must end.
        """
        self._order.check(generation, records)
        items = [self._decode(record) for record in records]
        size = sum(len(record.key) + len(record.payload) for record in records)
        with self._changed:
            self._changed.wait_for(lambda: self._has_room() or self._is_over())
            if self._is_over():
                raise Stopped
            self._waiting.append(Delivery(generation, items, size, written, links))
            self._waiting_bytes += size
            self._changed.notify_all()

    @property
    def is_idle(self) -> bool:
        """Whether all that was delivered is written."""
        with self._changed:
            return not self._waiting and not self._waiting_bytes

    @property
    def waiting_bytes(self) -> int:
        """Bytes of records that were delivered and are not written."""
        return self._waiting_bytes

    def wake(self) -> None:
        """End all waits."""
        with self._changed:
            self._changed.notify_all()

    def round(self) -> None:
        """One block of what waits, or a short wait for something."""
        block = self._next_block(WAIT_S)
        if not block:
            return
        with self.tracer.span("block", links=_links(block)) as span:
            figures = self._write(self._pipeline_of(block[0].generation), block)
            span.set({"tupli.records": figures.records, "tupli.rows": figures.rows})
        self.meter.wrote_block(figures)
        with self._changed:
            self._waiting_bytes -= sum(delivery.size for delivery in block)
            self._changed.notify_all()
        self.blocks += 1
        for delivery in block:
            delivery.written()

    def _write(self, pipeline: Pipeline, block: Sequence[Delivery]) -> BlockFigures:
        """Fold and write; the seconds of what is tried again are those of the attempt that worked."""
        items = [item for delivery in block for item in delivery.items]
        with self.tracer.span("fold"):
            fold_s = self.retry(
                lambda: self._timed(lambda: pipeline.add_items(items)), "reading what is known of streams"
            )
        self._dead_letters.processed(len(items))
        rows, size = pipeline.pending_rows, pipeline.pending_bytes
        with self.tracer.span("write"):
            write_s = self.retry(lambda: self._timed(pipeline.flush), "writing a block")
        self._dead_letters.written()
        return BlockFigures(len(items), rows, size, fold_s, write_s)

    def _timed(self, work: Callable[[], None]) -> float:
        """Do it; how many seconds it took."""
        begun = self._clock()
        work()
        return self._clock() - begun

    def _next_block(self, patience: float) -> list[Delivery]:
        """What waits by now, of one generation and up to a block's size; what comes meanwhile is the next block's."""
        block: list[Delivery] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.stopping, patience)
            while self._waiting and size < self._limits.block_bytes:
                if block and self._waiting[0].generation != block[0].generation:
                    break
                block.append(self._waiting.popleft())
                size += block[-1].size
        return block

    def _pipeline_of(self, generation: int) -> Pipeline:
        if self._pipeline is None or generation != self._generation:
            self._pipeline, self._generation = self._new_pipeline(), generation
        return self._pipeline

    def _has_room(self) -> bool:
        return self._waiting_bytes < self._limits.waiting_bytes

    def _is_over(self) -> bool:
        return self.stopping or bool(self.failure) or not self._thread.is_alive()


def _links(block: Sequence[Delivery]) -> list[str]:
    """The places in traces that a block's records came from, each once, the first ones alone."""
    return list(dict.fromkeys(link for delivery in block for link in delivery.links))[:MAX_LINKS]


class _Order:
    """Sees to it that nothing is missing between deliveries of one generation."""

    def __init__(self) -> None:
        self._generation = -1
        self._next: dict[int, int] = {}

    def check(self, generation: int, records: Sequence[Record]) -> None:
        """Note these records.

        Raises:
            Bug: Some that stand before one of them were not delivered.
        """
        if generation != self._generation:
            self._generation, self._next = generation, {}
        for record in records:
            position = record.position
            expected = self._next.get(position.partition)
            if expected is not None and position.offset > expected:
                raise Bug(
                    f"records {expected} to {position.offset - 1} of partition {position.partition} were not delivered"
                )
            self._next[position.partition] = max(position.offset + 1, expected or 0)
