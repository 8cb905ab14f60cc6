"""What the threads of the service share: they stop when asked, retry in place, and say why they ended."""

import abc
import threading
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from tupli_ingest.core.errors import Full, Stopped, TooManyDeadLetters, Unavailable
from tupli_ingest.core.meters import NO_METER, Meter
from tupli_ingest.core.tracing import NO_TRACER, Tracer

T = TypeVar("T")


FIRST_DELAY_S: Final = 0.05


class Worker(abc.ABC):
    """A named thread that repeats `round` until it is stopped; a failure is kept for readiness."""

    def __init__(self, name: str, *, retry_max_s: float) -> None:
        self.failure = ""
        self.trouble = ""
        self.meter: Meter = NO_METER
        self.tracer: Tracer = NO_TRACER
        """Both may be exchanged before it is started."""
        self._name = name
        self._stop = threading.Event()
        self._retry_max_s = retry_max_s
        self._log = structlog.get_logger(f"tupli_ingest.{name}")
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def problem(self) -> str:
        """What is wrong: why it ended, or what it retries; empty when it works."""
        if self.failure or self.trouble:
            return self.failure or self.trouble
        return "" if self._thread.is_alive() else "does not run"

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float | None = None) -> None:
        """Ask it to stop, and wait until it has."""
        self._stop.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def wake(self) -> None:  # noqa: B027 -- what never waits has nothing to end
        """End a wait inside `round` early."""

    @abc.abstractmethod
    def round(self) -> None:
        """One turn of the work, in the thread.

        When it raises `Unavailable` or `Full`, it is called again after a while. What it has taken and cannot
        take again it must finish in place, with `retry`.
        """

    def retry(self, attempt: Callable[[], T], what: str) -> T:
        """The answer of `attempt`, however often it takes: nothing is skipped because a part is away.

        What is wrong stands in `trouble` meanwhile, and is logged once. Calls may stand within each other.

        Raises:
            Stopped: The thread was asked to stop meanwhile.
        """
        before, delay = self.trouble, FIRST_DELAY_S
        while True:
            try:
                answer = attempt()
            except (Unavailable, Full) as error:
                self._tell(what, str(error))
                self.meter.retried(self._name, what)
                if self._stop.wait(delay):
                    raise Stopped from error
                delay = min(2 * delay, self._retry_max_s)
            else:
                if self.trouble != before:
                    self.trouble = before
                    self._log.info("goes on", what=what)
                return answer

    def _tell(self, what: str, error: str) -> None:
        if self.trouble != (trouble := f"{what}: {error}"):
            self.trouble = trouble
            self._log.warning("trying again", what=what, error=error)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.retry(self.round, "working")
        except Stopped:
            return
        except TooManyDeadLetters as error:
            self.failure = f"stopped: {error}"
            self._log.error("stopped", reason=str(error))
        except Exception as error:  # noqa: BLE001 -- the edge of the thread: said in readiness and in the log
            self.failure = f"ended by {type(error).__name__}"
            self._log.exception("ended by an unforeseen error")
