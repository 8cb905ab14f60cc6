"""Log and store that were lost without each other are told, and what goes on beside a look is no alarm."""

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from tupli_ingest.adapters.kafka_groups import GroupPosition
from tupli_ingest.core.belonging import why_not_its_log
from tupli_ingest.grown.belonging import FORGOTTEN_SECONDS, REFUSED_SECONDS, Belonging
from tupli_ingest.processing.mark_watcher import MarkWatcher


@pytest.mark.parametrize(
    ("begun", "committed", "stored", "ends", "told"),
    [
        (False, {}, {}, {}, ""),
        (False, {0: 0, 1: 0}, {}, {0: 5, 1: 0}, ""),
        (True, {0: 3}, {0: 2}, {0: 3}, ""),
        (True, {0: 3}, {}, {0: 3}, ""),  # only poison so far
        (True, {}, {0: 4}, {0: 5}, ""),  # written, not committed
        (False, {0: 3, 1: 4}, {}, {0: 9, 1: 9}, "has processed 7 records and it has none"),
        (False, {0: 3}, {0: 3}, {0: 9}, "`tupli rebuild`"),  # a worker that lived through the loss
        (True, {0: 3}, {0: 3, 1: 1}, {0: 3, 1: 2}, "record 3 of partition 0, and the log ends at 3"),
        (True, {}, {1: 7}, {0: 9}, "record 7 of partition 1, and the log ends at 0"),
    ],
)
def test_what_is_told(
    begun: bool,  # noqa: FBT001 -- a case
    committed: dict[int, int],
    stored: dict[int, int],
    ends: dict[int, int],
    told: str,
) -> None:
    why = why_not_its_log(begun=begun, committed=committed, stored=stored, ends=ends)
    assert told in why
    assert bool(told) == bool(why)


def test_settings_are_told_before_a_loss_and_nothing_that_destroys_is_advised() -> None:
    log = why_not_its_log(begun=True, committed={0: 3}, stored={0: 3}, ends={0: 1})
    assert 0 < log.index("TUPLI_KAFKA_TOPIC_PREFIX") < log.index("lost")
    assert "rebuild" not in log  # it would give up what only the store has
    store = why_not_its_log(begun=False, committed={0: 3}, stored={}, ends={0: 3})
    assert 0 < store.index("TUPLI_CLICKHOUSE_HOST") < store.index("lost") < store.index("`tupli rebuild`")


@dataclass
class World:
    """A store and a broker; `meanwhile` is what others do between two questions."""

    begun: set[int] = field(default_factory=set)
    stored: dict[int, int] = field(default_factory=dict)
    at: GroupPosition = field(default_factory=GroupPosition)
    now: float = 0.0
    asked: int = 0

    def has_begun(self, generation: int) -> bool:
        return generation in self.begun

    def begin(self, generation: int) -> None:
        self.begun.add(generation)

    def positions(self, _: int) -> dict[int, int]:
        return dict(self.stored)

    async def position(self, _: str) -> GroupPosition:
        self.asked += 1
        self.meanwhile()
        return self.at

    def meanwhile(self) -> None:
        """Nothing."""

    def belonging(self) -> Belonging:
        parts: Any = self
        return Belonging(parts, parts, {1: None}, retry_max_s=0, clock=lambda: self.now)


def test_a_new_generation_gets_its_mark_before_it_is_filled() -> None:
    world = World()
    assert asyncio.run(world.belonging().refusal(1)) == ""
    assert world.begun == {1}


def test_a_generation_that_others_begin_meanwhile_is_no_lost_one() -> None:
    class Busy(World):
        def meanwhile(self) -> None:
            self.begun.add(1)
            self.stored[0] = 6
            self.at = GroupPosition({0: 7}, {0: 7})

    assert asyncio.run(Busy().belonging().refusal(1)) == ""


def test_a_refusal_holds_for_a_moment_and_is_taken_back_when_the_reason_is_gone() -> None:
    world = World(at=GroupPosition({0: 7}, {0: 7}))
    belonging = world.belonging()
    assert "was lost" in asyncio.run(belonging.refusal(1))
    assert "was lost" in asyncio.run(belonging.refusal(1))
    assert "was lost" in belonging.told(1)
    assert (world.asked, world.begun) == (1, set())
    world.now += REFUSED_SECONDS + FORGOTTEN_SECONDS
    assert belonging.told(1) == ""  # should it be refused again, it is told again
    world.begun.add(1)
    assert asyncio.run(belonging.refusal(1)) == ""
    assert belonging.told(1) == ""


def test_what_is_being_filled_is_looked_at_again() -> None:
    world = World(begun={2}, stored={0: 3}, at=GroupPosition({0: 4}, {0: 4}))
    looked = threading.Event()

    class Told(MarkWatcher):
        def round(self) -> None:
            super().round()
            looked.set()

    belonging = world.belonging()
    belonging.watcher = Told(world, lambda: [1, 2], retry_max_s=0, mark_s=0.001, position_s=0)
    belonging.watcher.start()
    assert looked.wait(10)
    belonging.watcher.stop(5)
    assert asyncio.run(belonging.lost()) == {1: "its tables were made anew"}
    assert asyncio.run(belonging.lost()) == {}  # told once

    world.at = GroupPosition({}, {0: 1})
    belonging.watcher = Told(world, lambda: [2], retry_max_s=0, mark_s=0.001, position_s=0)
    looked.clear()
    belonging.watcher.start()
    assert looked.wait(10)
    belonging.watcher.stop(5)
    assert "the log ends at 1" in asyncio.run(belonging.lost())[2]
