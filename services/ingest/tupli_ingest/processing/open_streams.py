"""How many recording streams are under way, as far as a processor has seen: counted, never looked up."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from tupli_ingest.core.ports import Row

SILENCE_S: Final = 3_600.0
"""After so long without news an open episode counts as abandoned, in queries too."""
MAX_STREAMS: Final = 100_000
"""More are not remembered: the figure stays there."""


class OpenStreams:
    """Streams that have an episode without an end, and had news within `SILENCE_S`. Used by several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._news: dict[bytes, float] = {}
        """When each of them was written last, the one without news for longest first."""
        self._lock = threading.Lock()

    def note(self, rows: Sequence[Row]) -> None:
        """Rows of `streams` were written: the whole truth about each of them."""
        now = self._clock()
        with self._lock:
            for row in rows:
                self._news.pop(row["stream"], None)
                if row["open_episodes"] and len(self._news) < MAX_STREAMS:
                    self._news[row["stream"]] = now
            self._forget_silent(now)

    def clear(self) -> None:
        """Forget all: others may have written since."""
        with self._lock:
            self._news.clear()

    def count(self) -> int:
        """How many there are."""
        with self._lock:
            self._forget_silent(self._clock())
            return len(self._news)

    def _forget_silent(self, now: float) -> None:
        while self._news and now - self._news[first := next(iter(self._news))] > SILENCE_S:
            del self._news[first]
