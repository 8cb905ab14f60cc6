"""The real writer of blocks as a thread that runs only when it is told to, from one pause to the next."""

import threading
from collections.abc import Callable
from typing import Final, Literal, TypeVar

from tupli_ingest.core.errors import Full, Stopped, Unavailable
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.processing.block_writer import BlockWriter, WriterLimits
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit

T = TypeVar("T")
Fault = Literal["", "refuses", "full", "half", "unanswered"]
FAULTS: Final[tuple[Fault, ...]] = ("refuses", "full", "half", "unanswered")
"""How a call fails: before it did anything (two ways), when half is done, when it is done and the answer is lost."""
IDLE: Final = "between two blocks"
SECONDS: Final = 20
"""A writer that does not pause in this time hangs."""


class Turns:
    """Lets one thread run from one of its pauses to the next."""

    def __init__(self) -> None:
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._killed = False
        self._fault: Fault = ""
        self._error: BaseException | None = None
        self.at = ""

    def pause(self, at: str) -> Fault:
        """Wait, in the thread, for the next turn; what is to go wrong in it.

        Raises:
            Stopped: The thread is dead: it gets no further.
        """
        self.at = at
        self._back.release()
        self._go.acquire()
        if self._killed:
            raise Stopped
        return self._fault

    def end(self, error: BaseException) -> None:
        """Say, in the thread, that it ends with an error."""
        self._error = error
        self._back.release()

    def begin(self) -> None:
        """Wait for the thread's first pause."""
        assert self._back.acquire(timeout=SECONDS), f"hangs after {self.at}"

    def run(self, fault: Fault = "") -> None:
        """Let the thread run to its next pause; raises what has ended it."""
        self._fault = fault
        self._go.release()
        self.begin()
        if self._error is not None:
            raise self._error

    def kill(self) -> None:
        """Let the thread end where it stands."""
        self._killed = True
        self._go.release()


class Writer(BlockWriter):
    """The real writer, whose thread runs by turns; it waits for turns where the real one waits for time."""

    def __init__(self, turns: Turns, new_pipeline: Callable[[], Pipeline], block_bytes: int) -> None:
        limits = WriterLimits(block_bytes=block_bytes, waiting_bytes=2**40)
        limit = DeadLetterLimit(ratio=1.0, window=1_000, run=1_000)
        super().__init__(new_pipeline, limits, limit, retry_max_s=0)
        self._turns = turns

    def round(self) -> None:
        try:
            self._turns.pause(IDLE)
            super().round()
        except Exception as error:
            if not isinstance(error, Stopped):
                self._turns.end(error)  # which raises it for whoever holds the world
            raise Stopped from error

    def retry(self, attempt: Callable[[], T], what: str) -> T:
        while True:
            try:
                return attempt()
            except (Unavailable, Full):
                self._turns.pause(f"after {what} failed")
