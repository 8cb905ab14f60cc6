"""The embedded stream processor: a thread that carries records from the log into the store, block by block."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import Checkpoints, LogReader
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_ingest.processing.worker import Worker
from tupli_schemas.events import EPISODES_TOPIC

WAIT_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class BlockLimits:
    """When a block is written although the log has more: bytes of events, rows; and bytes read at once."""

    bytes: int = 8 * 1024 * 1024
    rows: int = 200_000
    read_bytes: int = 4 * 1024 * 1024


class Engine:
    """One generation being filled: its pipeline and how far it is. Used by one thread at a time.

    It begins at `start`, or where its group was.
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
    ) -> None:
        self.generation = generation
        self.group = f"g{generation}"
        self.pipeline = pipeline
        self._log = log
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
        records = self._log.read(EPISODES_TOPIC, self.next_offset, max_bytes=self._limits.read_bytes)
        if records:
            self.pipeline.add(records)
            self._dead_letters.processed(len(records))
            self.next_offset = records[-1].position.offset + 1
        full = (
            self.pipeline.pending_bytes >= self._limits.bytes
            or self.pipeline.pending_rows >= self._limits.rows
        )
        return full or self._log.end(EPISODES_TOPIC) <= self.next_offset

    @property
    def pending(self) -> bool:
        """Whether records were folded that are not written."""
        return self.next_offset > self.committed

    def write(self) -> None:
        """Write the block and commit; may be called again when it raises.

        Raises:
            Unavailable: The store or the log does not answer.
            Full: No space.
            TooManyDeadLetters: A person must look.
        """
        self.pipeline.flush()
        self._dead_letters.written()
        self._checkpoints.commit(self.group, EPISODES_TOPIC, self.next_offset)
        self.committed = self.next_offset


class Processor(Worker):
    """Drives the serving generation's engine; a rebuild can hold it between two blocks and exchange the engine."""

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
        """Process what the log has, then stop; what takes longer than `timeout` seconds is left for the next start."""
        self._drain.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self.stop(timeout=5)
