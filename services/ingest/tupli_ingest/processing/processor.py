"""The embedded stream processor: a thread that carries records from log to store, block by block."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tupli_ingest.core.decoding import Item, decode_record
from tupli_ingest.core.errors import Unavailable
from tupli_ingest.core.meters import NO_METER, BlockFigures, Meter
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import Checkpoints, LogReader
from tupli_ingest.core.tracing import NO_TRACER, Tracer
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_ingest.processing.decoded import Decoded
from tupli_ingest.processing.worker import Worker
from tupli_schemas.events import EPISODES_TOPIC

WAIT_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class BlockLimits:
    """When a block is written although the log has more: bytes of events, rows; and bytes read at once."""

    bytes: int = 8 * 1024 * 1024
    rows: int = 200_000
    read_bytes: int = 4 * 1024 * 1024


class ReadAhead:
    """Reads and decodes what comes next while the block before it is written, on a thread of its own.

    Decoding knows nothing of what came before, so neither the order of folding nor that of writing is
    touched.
    """

    def __init__(self, log: LogReader, max_bytes: int, decoded: Decoded | None) -> None:
        self._log = log
        self._decoded = decoded
        self._max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(1, "read-ahead")
        self._start = -1
        self._coming: Future[list[Item]] | None = None

    def take(self, start: int) -> list[Item]:
        """The next items from an offset on; none at the end of the log.

        Raises:
            LogUnavailable: The log does not answer.
        """
        coming, self._coming = self._coming, None
        if coming is not None and start == self._start and (items := coming.result()):
            return items
        return self._read(start)

    def keep(self, start: int, items: list[Item]) -> None:
        """Items that were taken, to be taken again."""
        self._start, self._coming = start, Future()
        self._coming.set_result(items)

    def look(self, start: int) -> None:
        """Begin with what is to be taken next, if the log has it."""
        if self._log.end(EPISODES_TOPIC) > start:
            self._start, self._coming = start, self._thread.submit(self._read, start)

    def close(self) -> None:
        """Wait for a read that is under way; nothing is begun any more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _read(self, start: int) -> list[Item]:
        records = self._log.read(EPISODES_TOPIC, start, max_bytes=self._max_bytes)
        if self._decoded is None:
            return [decode_record(record) for record in records]
        return [decode_record(record, self._decoded.take(record.payload)) for record in records]


class Engine:
    """One generation being filled: its pipeline and how far it is. Used by one thread at a time.

    It begins at `start`, or where its group was. What is in `decoded` is not decoded again.
    `meter` and `tracer` may be exchanged before it is used.
    """

    def __init__(
        self,
        generation: int,
        pipeline: Pipeline,
        log: LogReader,
        checkpoints: Checkpoints,
        limits: BlockLimits,
        dead_letters: DeadLetterLimit,
        *,
        start: int | None = None,
        decoded: Decoded | None = None,
    ) -> None:
        self.meter: Meter = NO_METER
        self.tracer: Tracer = NO_TRACER
        self._clock: Callable[[], float] = time.perf_counter
        self._records, self._fold_s = 0, 0.0
        """Of the block that is being folded."""
        self.generation = generation
        self.group = f"g{generation}"
        self.pipeline = pipeline
        self._log = log
        self._ahead = ReadAhead(log, limits.read_bytes, decoded)
        self._checkpoints = checkpoints
        self._limits = limits
        self._dead_letters = dead_letters
        self.next_offset = checkpoints.checkpoint(self.group, EPISODES_TOPIC) if start is None else start
        self.committed = self.next_offset

    @property
    def lag(self) -> int:
        """Records of the log that are not processed."""
        return self._log.end(EPISODES_TOPIC) - self.committed

    def collect(self) -> bool:
        """Read once and fold it in; whether the block should be written now.

        Raises:
            Unavailable: Before anything was folded; call again.
        """
        items = self._ahead.take(self.next_offset)
        if items:
            begun = self._clock()
            try:
                self.pipeline.add_items(items)
            except Unavailable:
                self._ahead.keep(self.next_offset, items)
                raise
            self._dead_letters.processed(len(items))
            self._records += len(items)
            self._fold_s += self._clock() - begun
            self.next_offset = items[-1].offset + 1
            self._ahead.look(self.next_offset)
        full = (
            self.pipeline.pending_bytes >= self._limits.bytes
            or self.pipeline.pending_rows >= self._limits.rows
        )
        return full or self._log.end(EPISODES_TOPIC) <= self.next_offset

    @property
    def pending(self) -> bool:
        """Whether records were folded that are not written."""
        return self.next_offset > self.committed

    def close(self) -> None:
        """Let go of the log. What was folded and not written is folded again by the next engine."""
        self._ahead.close()

    def write(self) -> None:
        """Write the block and commit; may be called again when it raises.

        Raises:
            Unavailable: The store or the log does not answer.
            Full: No space.
            TooManyDeadLetters: A person must look.
        """
        rows, size = self.pipeline.pending_rows, self.pipeline.pending_bytes
        with self.tracer.span("block", {"tupli.records": self._records, "tupli.rows": rows}):
            begun = self._clock()
            self.pipeline.flush()
            write_s = self._clock() - begun
        self._dead_letters.written()
        self.meter.wrote_block(BlockFigures(self._records, rows, size, self._fold_s, write_s))
        self._records, self._fold_s = 0, 0.0
        self._checkpoints.commit(self.group, EPISODES_TOPIC, self.next_offset)
        self.committed = self.next_offset


class Processor(Worker):
    """Drives the serving generation's engine.

    A rebuild can hold it between two blocks and exchange the engine.
    """

    def __init__(self, engine: Engine, log: LogReader, *, retry_max_s: float) -> None:
        super().__init__("processor", retry_max_s=retry_max_s)
        self.engine = engine
        self._log_reader = log
        self._between_blocks = threading.Lock()
        self._free = threading.Event()
        self._free.set()
        self._drain = threading.Event()

    def round(self) -> None:
        """One block, or a short wait for the log."""
        self._free.wait(WAIT_S)
        with self._between_blocks:
            engine = self.engine
            while not self.retry(engine.collect, "reading the log"):
                pass
            if engine.pending:
                self.retry(engine.write, "writing a block")
        if self._drain.is_set() and engine.lag <= 0:
            self._stop.set()
        else:
            self._log_reader.wait(EPISODES_TOPIC, engine.next_offset, WAIT_S)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, no block is begun or written."""
        self._free.clear()  # else a busy thread would take its lock again at once
        try:
            with self._between_blocks:
                yield
        finally:
            self._free.set()

    def drain(self, timeout: float) -> None:
        """Process what the log has, then stop.

        What takes longer than `timeout` seconds is left for the next start.
        """
        self._drain.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self.stop(timeout=5)
