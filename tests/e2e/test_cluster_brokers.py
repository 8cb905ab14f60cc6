"""The grown system on a cluster of three brokers, of which one or two are killed; and on one whose disk is full."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from support.cluster import Cluster, cluster
from support.ingest_sender import Load, create_benchmark
from support.ingest_service import eventually
from support.kafka_broker import Broker, own_broker, own_brokers
from support.small_disk import small_disk
from tupli_ingest.adapters.kafka_connection import KafkaConnection

pytestmark = [pytest.mark.faults, pytest.mark.thorough, pytest.mark.timeout(1_800)]

BROKERS = 3
AWAY_SECONDS = 8.0
BACK_SECONDS = 240.0
"""For so long everybody may take to be at work again; the machine may be busy with other things."""
REQUEST_SECONDS = 10.0


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[list[Broker]]:
    with own_brokers(tmp_path / "brokers", BROKERS) as made:
        eventually(lambda: known_by(made[0]) == BROKERS, BACK_SECONDS)
        yield made


@pytest.fixture
def grown(tmp_path: Path, brokers: list[Broker]) -> Iterator[Cluster]:
    addresses = ",".join(broker.bootstrap for broker in brokers)
    with cluster(tmp_path, broker=addresses) as made:
        made.more["TUPLI_KAFKA_REQUEST_TIMEOUT_MS"] = str(int(1_000 * REQUEST_SECONDS))
        yield made


def known_by(broker: Broker) -> int:
    """How many brokers this one knows to be at work."""

    async def ask() -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        try:
            await admin.start()
            return len((await admin.describe_cluster())["brokers"])
        except KafkaError:
            return 0
        finally:
            await admin.close()

    return asyncio.run(ask())


def copies(kafka: KafkaConnection) -> int:
    """The copies that are up to date, of the partition that has the fewest."""

    async def ask() -> int:
        admin = AIOKafkaAdminClient(**kafka.options())
        try:
            await admin.start()
            topics = await admin.describe_topics()
        except KafkaError:
            return 0
        finally:
            await admin.close()
        return min(len(one["isr"]) for topic in topics for one in topic["partitions"])

    return asyncio.run(ask())


def acknowledged(load: Load, begin: float, end: float) -> int:
    """How many requests were acknowledged between two moments."""
    return sum(answer.status == 200 and begin < answer.at < end for answer in load.answers)


def test_one_broker_of_three_that_is_killed_stops_nobody(brokers: list[Broker], grown: Cluster) -> None:
    url = grown.gateway()
    create_benchmark(url)
    workers = [grown.worker(), grown.worker()]
    with Load(url, pause_s=0.05, timeout_s=60) as load:
        for broker in brokers:
            load.comes_through(BACK_SECONDS)
            eventually(lambda: copies(grown.kafka) == BROKERS, BACK_SECONDS)
            broker.kill()
            killed = time.monotonic()
            load.comes_through(BACK_SECONDS)
            time.sleep(AWAY_SECONDS)
            assert acknowledged(load, killed, time.monotonic()) > 0
            broker.start()
        load.comes_through(BACK_SECONDS)
    assert {answer.status for answer in load.answers} <= {200, 503}
    for process in grown.processes:
        assert process.is_running, process.said()
    assert len(workers) == 2
    grown.settled(seconds=BACK_SECONDS)
    grown.assert_visible(load.acknowledged)


def test_two_brokers_of_three_that_are_killed_delay_and_lose_nothing(
    brokers: list[Broker], grown: Cluster
) -> None:
    """One copy alone is not enough: what only that one has is not acknowledged."""
    url = grown.gateway()
    create_benchmark(url)
    grown.worker()
    grown.worker()
    with Load(url, pause_s=0.05, timeout_s=60) as load:
        load.comes_through(BACK_SECONDS)
        eventually(lambda: copies(grown.kafka) == BROKERS, BACK_SECONDS)
        for broker in brokers[:2]:
            broker.kill()
        killed = time.monotonic() + 1  # an answer may have been on its way
        time.sleep(1 + AWAY_SECONDS)
        assert acknowledged(load, killed, time.monotonic()) == 0
        for broker in brokers[:2]:
            broker.begin()
        for broker in brokers[:2]:
            broker.wait()
        load.comes_through(BACK_SECONDS)
        time.sleep(4)
    assert {answer.status for answer in load.answers} <= {200, 503}
    for process in grown.processes:
        assert process.is_running, process.said()
    grown.settled(seconds=BACK_SECONDS)
    grown.assert_visible(load.acknowledged)


def test_a_broker_whose_disk_is_full_delays_and_loses_nothing(tmp_path: Path) -> None:
    """It ends itself: an operator makes room, and starts it again."""
    folder = tmp_path / "broker"
    with (
        small_disk(folder / "data", megabytes=100) as disk,
        own_broker(folder, within=disk.within) as broker,
        cluster(tmp_path, broker=broker.bootstrap) as grown,
    ):
        grown.more["TUPLI_KAFKA_REQUEST_TIMEOUT_MS"] = str(int(1_000 * REQUEST_SECONDS))
        url = grown.gateway()
        create_benchmark(url)
        grown.worker()
        grown.worker()
        with Load(url, pause_s=0.05, timeout_s=60) as load:
            load.comes_through(BACK_SECONDS)
            disk.fill()
            assert disk.is_full
            eventually(lambda: broker.has_ended, BACK_SECONDS)
            ended = time.monotonic() + 1  # an answer may have been on its way
            time.sleep(1 + AWAY_SECONDS)
            assert acknowledged(load, ended, time.monotonic()) == 0
            disk.empty()
            broker.start()
            load.comes_through(BACK_SECONDS)
            time.sleep(4)
        assert {answer.status for answer in load.answers} == {200, 503}
        for process in grown.processes:
            assert process.is_running, process.said()
        grown.settled(seconds=BACK_SECONDS)
        grown.assert_visible(load.acknowledged)
