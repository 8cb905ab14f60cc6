"""The store lost with all it had, or the log: nothing goes on as if nothing had happened, and what can be is mended."""

import asyncio
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from support.cluster import Cluster, Process, cluster
from support.ingest_sender import EPISODE_STEPS, Load, send_events
from support.ingest_service import eventually
from support.ingest_streams import LAYOUT, StreamOfItems
from tupli_ingest.adapters.clickhouse_client import ClickHouseClient
from tupli_schemas.events import CATALOG_TOPIC, DEAD_LETTERS_TOPIC, DIRECT_TOPIC, EPISODES_TOPIC
from tupli_schemas.ids import make_id
from tupli_schemas.tables import CONTROL_DATABASE, generation_database

TOPICS = (EPISODES_TOPIC, DIRECT_TOPIC, CATALOG_TOPIC, DEAD_LETTERS_TOPIC)


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path, TUPLI_INGEST_CATCHUP_PAUSE_RECORDS="500") as made:
        yield made


def lose_the_store(grown: Cluster) -> None:
    """All of it, as where its disk is lost."""
    client = ClickHouseClient(grown.clickhouse.connection)
    names = client.column("SELECT name FROM system.databases WHERE startsWith(name, 'tupli')")
    assert CONTROL_DATABASE in names
    for name in names:
        client.command(f"DROP DATABASE {name} SYNC")
    client.close()


def lose_the_log(grown: Cluster) -> None:
    """All topics, made again as empty ones."""

    async def delete() -> None:
        admin = AIOKafkaAdminClient(**grown.kafka.options())
        await admin.start()
        await admin.delete_topics([grown.kafka.named(topic) for topic in TOPICS])
        await admin.close()

    asyncio.run(delete())
    replication = ["--replication", "1", "--min-insync-replicas", "1"]
    eventually(
        lambda: (
            set(grown.run("create-topics", "--partitions", str(grown.partitions), *replication).values())
            == {"exists"}
        ),
        60,
    )


def tells(process: Process, text: str) -> bool:
    assert process.is_running, process.said()
    return text in process.log.read_text(encoding="utf-8", errors="replace")


def rebuild(url: str) -> int:
    """Ask for one and wait for it; the generation that serves then."""
    job = httpx.post(f"{url}/ingest/v1/rebuild", trust_env=False, timeout=60).json()["job"]
    state = f"{url}/ingest/v1/rebuild"
    eventually(lambda: httpx.get(state, trust_env=False, timeout=30).json()["state"] == "done", 120)
    return int(job)


def streams(count: int, first: int = 1) -> Sequence[StreamOfItems]:
    numbers = range(first, first + count)
    return [StreamOfItems(make_id(1_700_000_000_000 + n, n)).episode(1, EPISODE_STEPS[0]) for n in numbers]


def send(url: str, sent: Sequence[StreamOfItems]) -> dict[bytes, int]:
    """Send streams; the last number of each, which is acknowledged."""
    for stream in sent:
        send_events(url, stream.events(cut=8))
    return {stream.stream: len(stream.items) for stream in sent}


def benchmarks(grown: Cluster, generation: int) -> list[str]:
    client = ClickHouseClient(grown.clickhouse.connection)
    try:
        return client.column(f"SELECT name FROM {generation_database(generation)}.benchmarks FINAL")
    finally:
        client.close()


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_store_that_was_lost_is_not_filled_from_the_middle_and_a_rebuild_has_all(
    grown: Cluster, url: str
) -> None:
    worker = grown.worker()
    acknowledged = send(url, streams(8))
    grown.settled()
    worker.end(signal.SIGKILL)
    lose_the_store(grown)
    acknowledged |= send(url, streams(8, first=50))  # recording goes on without a store
    grown.run("migrate")

    worker = grown.worker()
    eventually(lambda: tells(worker, "tupli rebuild"), 60)
    shown = grown.shown()
    assert (shown["streams"], shown["episodes"]) == ([], [])

    generation = rebuild(url)
    assert generation == 2
    grown.assert_visible(acknowledged, generation)
    assert benchmarks(grown, generation) == ["bench"]
    acknowledged |= send(url, streams(2, first=90))
    grown.assert_visible(acknowledged, generation)

    lose_the_store(grown)  # once more: the groups of both generations have committed offsets by now
    grown.run("migrate")
    eventually(lambda: tells(worker, '"generation": 2, "event": "left"'), 60)
    generation = rebuild(url)
    assert generation == 3
    grown.assert_visible(acknowledged, generation)


@pytest.mark.faults
@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_workers_that_live_through_the_loss_of_the_store_leave_it(grown: Cluster, url: str) -> None:
    workers = [grown.worker(), grown.worker()]
    with Load(url) as load:
        eventually(lambda: bool(grown.shown().get(LAYOUT.table)), 60)
        lose_the_store(grown)
        grown.run("migrate")
        eventually(lambda: all(tells(worker, "does not belong to the log") for worker in workers), 60)
        generation = rebuild(url)
    grown.assert_visible(load.acknowledged, generation)
    assert benchmarks(grown, generation) == ["bench"]


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_log_that_was_lost_is_told(grown: Cluster, url: str) -> None:
    worker = grown.worker()
    send(url, streams(8))
    grown.settled()
    before = grown.shown()
    worker.end()
    lose_the_log(grown)
    worker = grown.worker()
    eventually(lambda: tells(worker, "the log ends at 0: settings name another log"), 60)
    assert grown.shown() == before
    assert worker.end() == 0
