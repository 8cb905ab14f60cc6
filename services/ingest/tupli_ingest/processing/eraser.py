"""Erasure in the background: what was deleted loses its rows, also rows that come later, and leftovers go."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tupli_ingest.core.catalog import Erasure
from tupli_ingest.core.leftovers import leftovers
from tupli_ingest.core.ports import EpisodeKey, EpisodeStore
from tupli_ingest.processing.worker import Worker

GATHER_S: Final = 0.2
IDS_AT_ONCE: Final = 1_000

IsDeleted = Callable[[EpisodeKey], bool]


class Eraser(Worker):
    """Erases episodes that `is_deleted` says are deleted: queries hide them at once, this frees their space.

    Requests wait a moment, so that many become one mutation. When it starts, and every `tidy_s` seconds, what
    workers that slept have left is erased; None where there are no others.
    """

    def __init__(
        self,
        store: EpisodeStore,
        generation: int,
        is_deleted: IsDeleted,
        *,
        retry_max_s: float,
        tidy_s: float | None = None,
    ) -> None:
        super().__init__("eraser", retry_max_s=retry_max_s)
        self.generation = generation
        self._tidy_s = tidy_s
        self._tidied_at = -math.inf
        self._store = store
        self.between = threading.Lock()
        self._is_deleted = is_deleted
        self._changed = threading.Condition()
        self._keys: set[EpisodeKey] = set()
        self._erasures: set[Erasure] = set()

    def look_for(self, erasures: Sequence[Erasure]) -> None:
        """Find the rows of these, and erase those that are deleted."""
        with self._changed:
            self._erasures.update(erasures)
            self._changed.notify_all()

    def written(self, keys: Sequence[EpisodeKey]) -> None:
        """Rows of these episodes were written just now; erase them when they are deleted."""
        deleted = [key for key in keys if self._is_deleted(key)]
        if deleted:
            with self._changed:
                self._keys.update(deleted)
                self._changed.notify_all()

    def use(self, store: EpisodeStore, generation: int) -> None:
        """Go on with another generation's store; only while `between` is held."""
        self._store, self.generation = store, generation

    def wake(self) -> None:
        """End the wait for requests."""
        with self._changed:
            self._changed.notify_all()

    def round(self) -> None:
        """Erase what was asked for, or wait."""
        with self._changed:
            wanted = self._changed.wait_for(lambda: self._asked() or self.stopping, GATHER_S)
        self._tidy()
        if not wanted or self._stop.wait(GATHER_S):
            return
        with self.between:
            keys, erasures = self._take()
            self.retry(lambda: erase_deleted(self._store, self._is_deleted, keys, erasures), "erasing")

    def _tidy(self) -> None:
        """Erase what others have left, when it is time to look again."""
        now = time.monotonic()
        if self._tidy_s is None or self.stopping or now - self._tidied_at < self._tidy_s:
            return
        with self.between:
            left = leftovers(self._store)
            if left:
                self._store.erase(left)
                self._log.info("erased what was left", episodes=len(left))
        self._tidied_at = now

    def _asked(self) -> bool:
        return bool(self._keys or self._erasures)

    def _take(self) -> tuple[set[EpisodeKey], set[Erasure]]:
        with self._changed:
            taken = self._keys, self._erasures
            self._keys, self._erasures = set(), set()
        return taken


def erase_deleted(
    store: EpisodeStore, is_deleted: IsDeleted, keys: Iterable[EpisodeKey], erasures: Iterable[Erasure]
) -> int:
    """Erase these keys and what the erasures find, as far as it is deleted.

    Returns:
        The number of keys that were erased.
    """
    found = set(keys)
    ids = []
    for erasure in sorted(erasures, key=lambda one: one.id):
        if erasure.kind == "benchmark":
            found.update(store.find_episodes(benchmark=erasure.id))
        else:
            ids.append(erasure.id)
    for start in range(0, len(ids), IDS_AT_ONCE):
        found.update(store.find_episodes(ids=ids[start : start + IDS_AT_ONCE]))
    deleted = sorted((key for key in found if is_deleted(key)), key=lambda key: key.episode)
    if deleted:
        store.erase(deleted)
    return len(deleted)
