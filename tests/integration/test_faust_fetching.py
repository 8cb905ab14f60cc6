"""What a worker has not room for now costs it no more than that: nothing waits for a partition that is idle."""

import asyncio
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaProducer

from support.ingest_service import eventually
from support.kafka_broker import shared_broker
from tupli_ingest.adapters.faust_consumer import FETCH_WAIT_MS
from tupli_ingest.adapters.faust_engine import FaustEngine, GroupLimits
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_topics import TopicPlan, create_topics_now
from tupli_schemas.events import EPISODES_TOPIC
from tupli_schemas.records import Record

PARTITIONS, RECORDS, AT_ONCE = 4, 2_000, 64
DAYS_S = 10 * 86_400.0


@pytest.fixture
def kafka() -> KafkaConnection:
    connection = KafkaConnection(brokers=shared_broker(), topic_prefix=f"{uuid.uuid4().hex}.")
    create_topics_now(connection, TopicPlan(PARTITIONS, replication=1, min_insync_replicas=1))
    return connection


async def send(
    kafka: KafkaConnection, records: int = RECORDS, size: int = 4, *, as_keys: bool = False
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.brokers) as producer:
        for number in range(records):
            key, value = (bytes(size), b"") if as_keys else (bytes(16), bytes(size))
            await producer.send(kafka.named(EPISODES_TOPIC), value, key=key, partition=number % PARTITIONS)


class Gate:
    """Takes what is delivered when it is open."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.taken = 0

    def put(
        self, _: int, records: Sequence[Record], written: Callable[[], None], links: Sequence[str] = ()
    ) -> None:
        assert self.opened.wait(60)
        self.taken += len(records)
        written()


def test_a_full_buffer_leaves_no_partition_out(kafka: KafkaConnection) -> None:
    gate, ended = Gate(), list[str]()

    async def run() -> None:
        await send(kafka)
        limits = GroupLimits(records=AT_ONCE)
        engine = cast("Any", FaustEngine(kafka, "g1", gate.put, limits=limits, on_end=ended.append))
        await engine.start()
        try:
            consumer, topic = engine._app.consumer, next(iter(engine._app.topics))
            await asyncio.to_thread(eventually, topic.queue.full, 60)
            assigned = engine._app.assignor.assigned_actives()
            assert len(assigned) == 2 * PARTITIONS
            assert consumer._get_active_partitions() == assigned
            gate.opened.set()
            await asyncio.to_thread(eventually, lambda: gate.taken == RECORDS, 60)
            assert consumer._thread._consumer._fetcher._fetch_max_wait_ms == FETCH_WAIT_MS
        finally:
            gate.opened.set()
            await engine.stop()

    asyncio.run(run())
    assert ended == []


@pytest.mark.parametrize("as_keys", [False, True], ids=["values", "keys"])
def test_no_more_bytes_are_held_than_said(kafka: KafkaConnection, *, as_keys: bool) -> None:
    """Buffers are bounded by count, and records may be large."""
    gate, ended = Gate(), list[str]()
    large, count, limit = 100_000, 400, 2_000_000
    at_once = 16

    async def run() -> None:
        await send(kafka, count, large, as_keys=as_keys)
        limits = GroupLimits(records=at_once, held_bytes=limit)
        first = cast("Any", FaustEngine(kafka, "g1", gate.put, limits=limits, on_end=ended.append))
        second = cast("Any", FaustEngine(kafka, "g1", gate.put, limits=limits, on_end=ended.append))
        engines = [first, second]
        try:
            await first.start()
            await asyncio.to_thread(eventually, lambda: first._room.is_full, 60)
            await asyncio.sleep(1)
            most = limit + at_once * large  # what was fetched when there was room for something
            assert limit <= first._room.held <= most
            await second.start()  # what the first holds is another's now, in part
            await asyncio.to_thread(eventually, lambda: second._room.is_full, 60)
            assert first._room.held <= most
            gate.opened.set()
            await asyncio.to_thread(eventually, lambda: not any(sum(e.lags().values()) for e in engines), 60)
            await asyncio.to_thread(eventually, lambda: gate.taken >= count, 60)
            assert [engine._room.held for engine in engines] == [0, 0]
        finally:
            gate.opened.set()
            for engine in engines:
                await engine.stop()

    asyncio.run(run())
    assert ended == []


def test_who_takes_nothing_for_days_stays_in_the_group(kafka: KafkaConnection) -> None:
    """A store may be away for so long."""
    gate, ended = Gate(), list[str]()

    async def run() -> None:
        await send(kafka)
        limits = GroupLimits(records=AT_ONCE, heartbeat_s=0.2)
        engine = cast("Any", FaustEngine(kafka, "g1", gate.put, limits=limits, on_end=ended.append))
        await engine.start()
        try:
            app = engine._app
            topic = next(iter(app.topics))
            await asyncio.to_thread(eventually, topic.queue.full, 60)
            fetches = app.consumer._thread._consumer._subscription
            await asyncio.to_thread(eventually, lambda: fetches._fetch_count == 0, 60)
            generation = app.consumer_generation_id
            fetches._last_fetch_ended -= DAYS_S
            await asyncio.sleep(3)  # some heartbeats
            gate.opened.set()
            await asyncio.to_thread(eventually, lambda: gate.taken == RECORDS, 60)
            assert app.consumer_generation_id == generation
        finally:
            gate.opened.set()
            await engine.stop()

    asyncio.run(run())
    assert ended == []
