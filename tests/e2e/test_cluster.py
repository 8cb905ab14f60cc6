"""The grown system with real processes: whatever is killed, what was acknowledged is visible, once, in order."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from support.cluster import Cluster, cluster
from support.ingest_sender import Load
from support.ingest_service import eventually
from support.ingest_streams import LAYOUT, OTHER_SUBJECT, STREAM, StreamOfItems, new_record
from tupli_ingest.adapters.kafka_reader import ThreadLog
from tupli_schemas.events import EPISODES_TOPIC


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as made:
        yield made


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_workers_that_are_killed_lose_and_double_nothing(grown: Cluster, url: str) -> None:
    workers = [grown.worker(), grown.worker()]
    seeded = random.Random(7)
    with Load(url) as load:
        for _ in range(6):
            time.sleep(seeded.uniform(0.5, 3.0))
            victim = seeded.randrange(2)
            workers[victim].end(signal.SIGKILL)
            workers[victim] = grown.worker()
    grown.assert_visible(load.acknowledged)


FAULTS: dict[str, dict[str, object]] = {
    "refuses": {"kind": "drop", "match": "INSERT"},
    "is out of memory": {"kind": "code", "code": 241, "match": "INSERT"},
    "has too many parts": {"kind": "code", "code": 252, "match": "INSERT"},
    "wrote, and says that it did not": {"kind": "late_code", "code": 241, "match": "INSERT"},
    "wrote, and does not answer": {"kind": "late_drop", "match": "INSERT"},
    "wrote, and answers after the timeout": {"kind": "late", "seconds": 4, "match": "INSERT"},
    "hangs": {"kind": "hang", "seconds": 4, "match": "INSERT"},
    "cannot be read": {"kind": "code", "code": 159, "match": "SELECT"},
}


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_store_in_trouble_delays_and_loses_nothing(grown: Cluster, url: str) -> None:
    grown.more["TUPLI_CLICKHOUSE_ANSWER_TIMEOUT_S"] = "2"
    worker = grown.worker()
    with Load(url) as load:
        time.sleep(2)
        for fault in FAULTS.values():
            grown.clickhouse.fault(**fault)
            time.sleep(3)
            grown.clickhouse.fault()
            time.sleep(1)
    assert worker.is_running, worker.said()
    grown.assert_visible(load.acknowledged)


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", ["up", "down"])
def test_a_worker_that_is_told_to_end_does_so_within_ten_seconds(
    store: str, grown: Cluster, url: str
) -> None:
    worker = grown.worker()
    with Load(url) as load:
        eventually(lambda: bool(grown.shown().get(LAYOUT.table)), seconds=30)
        if store == "down":
            grown.clickhouse.fault(kind="code", code=159)
            time.sleep(1)
        begun = time.monotonic()
        assert worker.end(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 10
    grown.clickhouse.fault()
    grown.worker()
    grown.assert_visible(load.acknowledged)


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_worker_that_slept_past_its_session_harms_nothing(grown: Cluster, url: str) -> None:
    workers = [grown.worker(), grown.worker()]
    with Load(url) as load:
        time.sleep(4)
        os.kill(workers[0].pid, signal.SIGSTOP)
        time.sleep(20)  # its session lasts 15 s
        os.kill(workers[0].pid, signal.SIGCONT)
        time.sleep(4)
    grown.assert_visible(load.acknowledged)


@pytest.mark.timeout(300)
def test_poison_goes_to_the_dead_letters_and_nothing_else_does(grown: Cluster, url: str) -> None:
    grown.worker()
    good = StreamOfItems().episode(1, 30)
    records = [new_record(event) for event in good.events(cut=10)]
    log = ThreadLog(grown.kafka)
    log.append_now(EPISODES_TOPIC, records[:2])
    poison = [b"", b"\xff" * 40, b"{}", records[2].to_bytes()[:-7]]
    poison_raw(grown, poison)
    foreign = replace(records[2], envelope=replace(records[2].envelope, subject=OTHER_SUBJECT))
    log.append_now(EPISODES_TOPIC, [foreign, *records[2:]])
    log.close()
    grown.settled()
    letters = grown.dead_letters()
    assert sorted(letter.code for letter in letters) == ["foreign_owner", *["undecodable"] * len(poison)]
    shown = grown.shown()
    assert len(shown[LAYOUT.table]) == 31
    assert b"\tterminated\t" in shown["episodes"][0]


def poison_raw(grown: Cluster, values: Sequence[bytes]) -> None:
    """Values that no writer of ours makes, under keys of any kind."""

    async def send() -> None:
        producer = AIOKafkaProducer(**grown.kafka.options())
        await producer.start()
        for number, value in enumerate(values):
            key = None if number == 0 else STREAM
            await producer.send_and_wait(grown.kafka.named(EPISODES_TOPIC), value, key=key)
        await producer.stop()

    asyncio.run(send())
