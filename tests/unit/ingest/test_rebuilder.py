"""A rebuild beside parts that are away for a moment: it goes on, and the job is not forgotten."""

import time
from collections.abc import Callable, Iterator

import pytest

from support.ingest_streams import StreamOfItems, new_record
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryLog, MemoryStore
from tupli_ingest.core.errors import LogUnavailable, StoreUnavailable
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_ingest.processing.eraser import Eraser
from tupli_ingest.processing.processor import BlockLimits, Engine, Processor
from tupli_ingest.processing.projector import Projector
from tupli_ingest.processing.rebuilder import Opened, Parts, Rebuilder, RebuildLimits
from tupli_schemas.events import EPISODES_TOPIC


class Log(MemoryLog):
    """Does not say where its end is as often as `away` says."""

    away = 0

    def end(self, topic: str) -> int:
        if self.away and topic == EPISODES_TOPIC:
            self.away -= 1
            raise LogUnavailable("the log does not answer")
        return super().end(topic)


class World:
    """Generations in memory; the control row answers `calls` times, then `away` times not."""

    def __init__(self) -> None:
        self.log = Log()
        self.away = self.calls = 0
        self.current = 1
        self.stores: dict[int, MemoryStore] = {}
        serving = self.open(1)
        letters = MemoryDeadLetters()
        self.projector = Projector(self.log, self.log, letters, serving.store, 1, retry_max_s=0.01)
        self.processor = Processor(serving.engine, self.log, retry_max_s=0.01)
        eraser = Eraser(serving.store, 1, self.projector.is_deleted, retry_max_s=0.01)
        parts = Parts(self.processor, self.projector, eraser)
        self.rebuilder = Rebuilder(self, self.open, parts, limits=RebuildLimits(), retry_max_s=0.01)

    def open(self, generation: int) -> Opened:
        store = self.stores[generation] = MemoryStore()
        limit = DeadLetterLimit(ratio=0.2, window=1_000, run=100)
        pipeline = Pipeline(store, MemoryDeadLetters())
        engine = Engine(generation, pipeline, self.log, self.log, BlockLimits(), limit, start=0)
        return Opened(engine, store)

    def serving(self) -> int:
        self.calls -= 1
        if self.away and self.calls < 0:
            self.away -= 1
            raise StoreUnavailable("the store does not answer")
        return self.current

    def others(self) -> list[int]:
        return [generation for generation in self.stores if generation != self.current]

    def switch(self, generation: int) -> None:
        self.current = generation

    def drop(self, generation: int) -> None:
        del self.stores[generation]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    events = StreamOfItems().episode(1, 50).events(cut=10)
    made.log.append_now(EPISODES_TOPIC, [new_record(event) for event in events])
    made.rebuilder.start()
    yield made
    made.rebuilder.stop(5)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.002)


@pytest.mark.parametrize("times", [1, 3, 10])
@pytest.mark.parametrize("part", ["store at once", "store later", "log"])
def test_what_is_away_for_a_moment_delays_a_rebuild(part: str, times: int, world: World) -> None:
    if part == "log":
        world.log.away = times
    else:
        world.away, world.calls = times, int(part == "store later")
    world.rebuilder.request()
    until(lambda: world.rebuilder.progress()["state"] != "running")
    assert world.rebuilder.progress()["state"] == "done"
    assert world.rebuilder.problem == ""
    assert world.current == 2
    assert len(world.stores[2].rows("episodes")) == 1
    assert world.away == world.log.away == 0
