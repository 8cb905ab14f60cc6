"""Generations that do not belong to the log are not filled on: nothing is lost or mixed in silence.

A group's offsets are the broker's, and outlive the store. A store that was lost and made anew would be filled from
there on, without anything before. So a generation has a mark (migration 0015), set before its first record: without
it and with a group that has committed something, no worker joins, and says what to do. A log that was lost begins
again at offset 0, below what the store takes for processed; workers do not join where the store is ahead of the log.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Final

from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.kafka_groups import KafkaGroups, group_of
from tupli_ingest.core.belonging import why_not_its_log
from tupli_ingest.processing.mark_watcher import MarkWatcher

REFUSED_SECONDS: Final = 5.0
FORGOTTEN_SECONDS: Final = 20.0
"""For so long an answer of `refusal` holds, and for so long after that it is known that it was told."""


class Belonging:
    """Asks store and log whether they belong together; `lanes` are the generations that are being filled."""

    def __init__(
        self,
        generations: Generations,
        groups: KafkaGroups,
        lanes: Collection[int],
        *,
        retry_max_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.watcher = MarkWatcher(generations, lambda: list(lanes), retry_max_s=retry_max_s)
        self._generations = generations
        self._groups = groups
        self._clock = clock
        self._refused: dict[int, tuple[str, float]] = {}

    def told(self, generation: int) -> str:
        """The last answer of `refusal`, unless nobody has asked for a while."""
        why, until = self._refused.get(generation, ("", 0.0))
        return why if self._clock() < until + FORGOTTEN_SECONDS else ""

    async def refusal(self, generation: int) -> str:
        """Why no lane may be made of a generation, empty when one may; then it has its mark.

        Raises:
            Unavailable: Store or log do not answer.
        """
        why, until = self._refused.get(generation, ("", 0.0))
        if why and self._clock() < until:
            return why
        # The order matters, for others go on meanwhile: what is stored was in the log before, and the mark was
        # set before anything was committed.
        stored = await asyncio.to_thread(self._generations.positions, generation)
        at = await self._groups.position(group_of(generation))
        begun = await asyncio.to_thread(self._generations.has_begun, generation)
        why = why_not_its_log(begun=begun, committed=at.committed, stored=stored, ends=at.ends)
        self._refused[generation] = why, self._clock() + REFUSED_SECONDS
        if not why and not begun:
            await asyncio.to_thread(self._generations.begin, generation)
        return why

    async def lost(self) -> dict[int, str]:
        """Of the generations that are being filled, those that do not belong to the log any more, and why.

        Raises:
            LogUnavailable: The log does not answer.
        """
        unmarked, stored = self.watcher.take()
        found = dict.fromkeys(unmarked, "its tables were made anew")
        for generation in stored.keys() - unmarked:
            at = await self._groups.position(group_of(generation))
            why = why_not_its_log(begun=True, committed=at.committed, stored=stored[generation], ends=at.ends)
            if why:
                found[generation] = why
        return found
