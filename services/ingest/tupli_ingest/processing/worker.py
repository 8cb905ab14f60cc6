"""What the threads of the service share: they stop when asked, retry in place, and say why they ended."""

import abc
import threading
from collections.abc import Callable
from typing import TypeVar

import structlog

from tupli_ingest.core.errors import Full, Stopped, TooManyDeadLetters, Unavailable

T = TypeVar("T")


class Worker(abc.ABC):
    """A named thread that repeats `round` until it is stopped; a failure is kept for readiness."""

    def __init__(self, name: str, *, retry_max_s: float) -> None:
        self.failure = ""
        self.trouble = ""
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
        """One turn of the work, in the thread."""

    def retry(self, attempt: Callable[[], T], what: str) -> T:
        """The answer of `attempt`, however often it takes: nothing is skipped because a part is away.

        Raises:
            Stopped: The thread was asked to stop meanwhile.
        """
        delay = 0.05
        while True:
            try:
                answer = attempt()
            except (Unavailable, Full) as error:
                self.trouble = f"{what}: {error}"
                self._log.warning("trying again", what=what, error=str(error), seconds=delay)
                if self._stop.wait(delay):
                    raise Stopped from error
                delay = min(2 * delay, self._retry_max_s)
            else:
                self.trouble = ""
                return answer

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.round()
        except Stopped:
            return
        except TooManyDeadLetters as error:
            self.failure = f"stopped: {error}"
            self._log.error("stopped", reason=str(error))
        except Exception as error:  # noqa: BLE001 -- the edge of the thread: said in readiness and in the log
            self.failure = f"ended by {type(error).__name__}"
            self._log.exception("ended by an unforeseen error")
