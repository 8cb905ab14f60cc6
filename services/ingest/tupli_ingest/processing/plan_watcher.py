"""Which generation serves and which is filled, looked at again and again by a thread."""

import time
from collections.abc import Callable
from typing import Final

from tupli_ingest.core.plan import Plan
from tupli_ingest.processing.worker import Worker

EVERY_S: Final = 0.5


class PlanWatcher(Worker):
    """Keeps the last `plan` that the store told. A store that hangs holds up this thread alone.

    `on_serving` is called in the thread, before `plan` changes, when another generation serves.
    """

    def __init__(
        self,
        read: Callable[[], Plan],
        *,
        retry_max_s: float,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("plan_watcher", retry_max_s=retry_max_s)
        self._clock = clock
        self.plan = read()
        self._answered_at = clock()
        self.on_serving: Callable[[Plan], None] = lambda _: None
        self._read = read
        self._every_s = every_s

    @property
    def silent_s(self) -> float:
        """For how many seconds the store has not answered; told from memory, also while it hangs."""
        return self._clock() - self._answered_at

    def round(self) -> None:
        """Look, and wait a little."""
        plan = self._read()
        self._answered_at = self._clock()
        if plan.serving != self.plan.serving:
            self.on_serving(plan)
        self.plan = plan
        self._stop.wait(self._every_s)
