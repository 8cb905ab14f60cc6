"""The parts of gateways and workers: made whole or closed whole, and ended when they stand still."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tupli_ingest.adapters.clickhouse_client import ClickHouseConnection
from tupli_ingest.adapters.faust_engine import FaustEngine
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_groups import GroupPosition
from tupli_ingest.adapters.memory import MemoryLog, MemoryStore
from tupli_ingest.core.errors import LogUnavailable
from tupli_ingest.core.plan import Plan
from tupli_ingest.grown.lane import Lane
from tupli_ingest.grown.means import REAL, Means
from tupli_ingest.grown.parts import ClusterParts, GatewayParts, once_available
from tupli_ingest.grown.workers import WorkerParts
from tupli_ingest.processing import watchdog
from tupli_ingest.settings import IngestSettings
from tupli_schemas.direct import DIRECT_PARTITIONS
from tupli_schemas.events import DIRECT_TOPIC, EPISODES_TOPIC

SETTINGS = IngestSettings(watchdog_s=10)
KAFKA = KafkaConnection(brokers="127.0.0.1:1")
CLICKHOUSE = ClickHouseConnection(host="h")


class World:
    """Counts what is open; `away` makes the log refuse to say where a group is."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.away = False
        self.unclosable = ""
        self.means = REAL

    def opened(self, name: str) -> None:
        self.open.append(name)

    def closed(self, name: str) -> None:
        self.open.remove(name)
        if name == self.unclosable:
            raise LogUnavailable("does not close")


class Client:
    """A store without tables."""

    cluster = ""

    def __init__(self, world: World) -> None:
        self._world = world
        world.opened("client")

    def column(self, _: str) -> list[str]:
        return []

    def close(self) -> None:
        self._world.closed("client")


async def four(*_: object) -> int:
    return 4


@pytest.fixture
def world() -> World:
    made = World()

    class Log(MemoryLog):
        def __init__(self, _: object) -> None:
            super().__init__()
            made.opened("log")

        def checkpoint(self, group: str, topic: str) -> int:
            if made.away:
                raise LogUnavailable("the log does not answer")
            return super().checkpoint(group, topic)

        def close(self) -> None:
            made.closed("log")

    def generations(*_: object, **__: object) -> object:
        return SimpleNamespace(
            plan=lambda: Plan(1),
            serving=lambda: 1,
            others=list,
            open=lambda _: MemoryStore(),
            has_begun=lambda _: True,
            positions=lambda _: {},
        )

    class Groups:
        def __init__(self, _: object) -> None:
            """Of a broker that is never asked."""

        async def position(self, _: str) -> GroupPosition:
            return GroupPosition()

    means: dict[str, Any] = {
        "client": lambda _: Client(made),
        "generations": generations,
        "log": Log,
        "groups": Groups,
        "partitions": four,
    }
    made.means = Means(**means)
    return made


def test_while_the_log_is_away_no_attempt_leaves_anything(world: World) -> None:
    world.away = True
    for _ in range(3):
        with pytest.raises(LogUnavailable):
            GatewayParts(SETTINGS, KAFKA, CLICKHOUSE, means=world.means)
    assert world.open == []
    world.away = False
    parts = GatewayParts(SETTINGS, KAFKA, CLICKHOUSE, means=world.means)
    assert sorted(world.open) == ["client", "log"]
    parts.close()
    assert world.open == []


def test_what_cannot_be_made_last_closes_what_was_made_first(world: World) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise OSError("no such certificate")

    world.means = replace(world.means, events=refuse)
    with pytest.raises(OSError, match="certificate"):
        GatewayParts(SETTINGS, KAFKA, CLICKHOUSE, means=world.means)
    assert world.open == []


def test_a_log_that_does_not_close_does_not_keep_the_store_open(world: World) -> None:
    parts = ClusterParts(SETTINGS, KAFKA, CLICKHOUSE, means=world.means)
    world.unclosable = "log"
    with pytest.raises(LogUnavailable):
        parts.close()
    assert world.open == []


def test_parts_that_are_made_when_the_stop_has_come_are_closed(world: World) -> None:
    stop = asyncio.Event()

    def make() -> ClusterParts:
        stop.set()
        return ClusterParts(SETTINGS, KAFKA, CLICKHOUSE, means=world.means)

    assert asyncio.run(once_available(make, stop)) is None
    assert world.open == []


class Engine:
    """Ends badly as often as it is asked to."""

    def __init__(self, lags: Callable[[], dict[int, int]] = dict) -> None:
        self.lags = lags
        self.is_stopped = False

    async def start(self) -> None:
        raise LogUnavailable("no broker")

    async def stop(self) -> None:
        self.is_stopped = True
        raise LogUnavailable("no broker")


def run_for_a_moment(parts: WorkerParts) -> str:
    """Run a worker until it is told to end; what else ended it."""

    async def run() -> str:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        return await asyncio.wait_for(parts.run(stop), 30)

    return asyncio.run(run())


def test_an_engine_that_does_not_start_or_stop_leaves_nothing_open(world: World) -> None:
    engine: Any = Engine()
    world.means = replace(world.means, engine=lambda *_, **__: engine)
    parts = WorkerParts(SETTINGS, KAFKA, CLICKHOUSE, means=world.means)

    assert run_for_a_moment(parts) == ""
    assert engine.is_stopped
    assert (parts.lanes, world.open) == ({}, [])
    assert not {"writer", "eraser", "projector"} & {thread.name for thread in threading.enumerate()}


def test_a_worker_that_is_still_joining_ends_when_it_is_told_to(world: World) -> None:
    class Joining(Engine):
        async def start(self) -> None:
            await asyncio.sleep(3_600)

        async def stop(self) -> None:
            self.is_stopped = True

    engine: Any = Joining()
    world.means = replace(world.means, engine=lambda *_, **__: engine)
    parts = WorkerParts(SETTINGS, KAFKA, CLICKHOUSE, means=world.means)

    assert run_for_a_moment(parts) == ""
    assert engine.is_stopped
    assert world.open == []


def test_without_a_log_the_worker_waits_for_it(world: World) -> None:
    engine: Any = Engine()
    world.means = replace(world.means, engine=lambda *_, **__: engine)
    world.away = True
    parts = WorkerParts(SETTINGS, KAFKA, CLICKHOUSE, means=world.means)

    assert run_for_a_moment(parts) == ""
    assert parts.lanes == {}
    assert world.open == []


def test_a_lane_ends_when_records_wait_that_never_come_and_not_when_they_have_just_come(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "LONGEST_STEP_S", 1_000.0)
    now, lags = [0.0], {0: 0}
    engine: Any = Engine(lambda: lags)
    world.means = replace(world.means, clock=lambda: now[0], engine=lambda *_, **__: engine)
    parts = ClusterParts(SETTINGS, KAFKA, CLICKHOUSE, means=world.means)
    one = Lane(parts, 1)

    def look(seconds: float) -> str:
        now[0] += seconds
        return one.why_it_ends()

    assert look(0) == look(100) == ""  # idle
    lags[0] = 1
    assert look(0.5) == look(9) == ""  # it has just come
    one.writer.blocks += 1
    assert look(5) == look(9) == ""  # another has come since
    one.writer.trouble = "writing a block: away"
    assert look(100) == ""  # the store says why
    one.writer.trouble = ""
    assert look(1) == ""
    assert look(10) == "no progress for 10 s, though records wait and the store answers"
    parts.close()


def test_the_lag_of_a_partition_that_a_rebalance_took_is_not_known() -> None:
    engine = FaustEngine(KAFKA, "g1", lambda *_: None, on_end=lambda _: None)
    places = [SimpleNamespace(topic=EPISODES_TOPIC, partition=number) for number in range(3)]
    places.append(SimpleNamespace(topic=DIRECT_TOPIC, partition=0))

    def highwater(place: Any) -> int | None:
        assert place.partition != 1, "Partition is not assigned"
        return 7 if place.partition == 0 else None

    app: Any = SimpleNamespace(
        consumer=SimpleNamespace(highwater=highwater, _committed_offset=SimpleNamespace(get=lambda _: 4)),
        assignor=SimpleNamespace(assigned_actives=lambda: places),
    )
    engine._app = app
    assert engine.lags() == {0: 3, 2: 0, DIRECT_PARTITIONS: 3}


def test_recorders_gather_longer_the_more_is_on_its_way_to_the_brokers(world: World) -> None:
    parts = GatewayParts(SETTINGS, KAFKA, CLICKHOUSE, means=world.means)
    limit = SETTINGS.log_queue_bytes
    asked = []
    for in_flight in (0, limit // 100, limit // 8, limit // 2, limit):
        parts.events.in_flight_bytes = in_flight
        asked.append(parts.linger_ms())
    assert asked == [50, 50, 500, 2_000, 2_000]
    parts.close()
