"""Whether what is being filled is still what it was when that began, looked at again and again by a thread."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

from tupli_ingest.processing.worker import Worker

MARK_SECONDS: Final = 5.0
POSITION_SECONDS: Final = 60.0


class Marked(Protocol):
    """What is asked: `adapters.generations.Generations`."""

    def has_begun(self, generation: int) -> bool:
        """Whether it has its mark."""
        ...

    def positions(self, generation: int) -> dict[int, int]:
        """The highest offset that it has, by partition."""
        ...


class MarkWatcher(Worker):
    """Looks for the marks of `generations`, and less often how far they are. A store that hangs holds up this thread alone."""

    def __init__(
        self,
        store: Marked,
        generations: Callable[[], Collection[int]],
        *,
        retry_max_s: float,
        mark_s: float = MARK_SECONDS,
        position_s: float = POSITION_SECONDS,
    ) -> None:
        super().__init__("mark_watcher", retry_max_s=retry_max_s)
        self._store = store
        self._generations = generations
        self._mark_s = mark_s
        self._position_s = position_s
        self._positions_at = time.monotonic()
        self._unmarked: set[int] = set()
        self._stored: dict[int, Mapping[int, int]] = {}

    def take(self) -> tuple[set[int], dict[int, Mapping[int, int]]]:
        """The generations that were found without their mark since the last call, and how far others are."""
        taken = self._unmarked, self._stored
        self._unmarked, self._stored = set(), {}
        return taken

    def round(self) -> None:
        """Wait a little, and look."""
        if self._stop.wait(self._mark_s):
            return
        generations = sorted(self._generations())
        unmarked = {one for one in generations if not self._store.has_begun(one)}
        if time.monotonic() - self._positions_at >= self._position_s:
            self._stored = {one: self._store.positions(one) for one in generations}
            self._positions_at = time.monotonic()
        self._unmarked = unmarked
