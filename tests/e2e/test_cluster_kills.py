"""The grown system, killed at chosen points and all at once, and a group that is never at rest."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.broker_proxy import OFFSET_COMMIT, BrokerProxy
from support.cluster import Cluster, Process, cluster
from support.ingest_sender import Load
from support.ingest_service import eventually
from support.ingest_streams import LAYOUT
from support.kafka_broker import Broker
from support.nursery import nursery
from tupli_ingest.adapters.kafka_groups import group_of
from tupli_schemas.tables import generation_database

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_800)]

AT_THE_POINT_SECONDS = 180.0
"""For so long two new workers may take until both are where they are to be killed; the machine may be busy."""
DATABASE = generation_database(1)


@pytest.fixture
def grown(tmp_path: Path, broker: Broker) -> Iterator[Cluster]:
    """Its workers are loaded already when they are started."""
    with nursery() as loaded, cluster(tmp_path, broker=broker.bootstrap) as made:
        made.nursery = loaded
        made.more["TUPLI_INGEST_GROUP_SESSION_S"] = "6"
        yield made


@dataclass(frozen=True, slots=True)
class Point:
    """Where both workers stand when they are killed: at a statement, held as `kind` says, or at their commit.

    `is_late`: the store does what the dead had asked for after others went on in their place.
    """

    kind: str
    table: str = ""
    is_late: bool = False

    @contextmanager
    def reached(self, grown: Cluster, proxy: BrokerProxy) -> Iterator[None]:
        """Within, both workers stand there; behind it nothing is held any more."""
        if self.kind == "commit":
            proxy.hold(OFFSET_COMMIT, text=grown.kafka.named(group_of(1)).encode())
            eventually(lambda: proxy.held == 2, AT_THE_POINT_SECONDS)
            yield
            proxy.pass_on(drop=True)
            return
        store = grown.clickhouse
        store.fault(kind=self.kind, match=f"INSERT INTO {DATABASE}.{self.table}", times=2)
        eventually(lambda: store.seen()["held"] == 2, AT_THE_POINT_SECONDS)
        yield
        if self.is_late:
            eventually(lambda: store.seen()["inserts"] > 0, AT_THE_POINT_SECONDS)
        store.fault()


POINTS = {
    "before the write of steps": Point("hold_drop", LAYOUT.table),
    "before the write of steps, which comes late": Point("hold", LAYOUT.table, is_late=True),
    "between steps and headers": Point("hold_drop", "episodes"),
    "between steps and headers, which come late": Point("hold", "episodes", is_late=True),
    "after the headers, before the answer": Point("late_hold", "episodes"),
    "between headers and streams": Point("hold_drop", "streams"),
    "after the last write, before its answer": Point("late_hold", "streams"),
    "between write and commit": Point("commit"),
}
ROUNDS = 3
AT_RANDOM = 6


@pytest.mark.thorough
def test_workers_killed_at_fifty_points_lose_and_double_nothing(
    proxy: BrokerProxy, grown: Cluster, url: str
) -> None:
    grown.more["TUPLI_KAFKA_BROKERS"] = f"127.0.0.1:{proxy.port}"
    kills: list[str] = []
    with Load(url, pause_s=0.1, timeout_s=60) as load:
        workers = [grown.worker(), grown.worker()]
        for name, point in list(POINTS.items()) * ROUNDS:
            with point.reached(grown, proxy):
                workers = [killed(grown, worker) for worker in workers]
            kills += [name] * len(workers)
        seeded = random.Random(7)
        for _ in range(AT_RANDOM):
            time.sleep(seeded.uniform(0.5, 3.0))
            victim = seeded.randrange(2)
            workers[victim] = killed(grown, workers[victim])
            kills.append("at random")
        load.comes_through(AT_THE_POINT_SECONDS)
    assert len(kills) >= 50
    assert {answer.status for answer in load.answers} == {200}
    grown.assert_visible(load.acknowledged)


def killed(grown: Cluster, worker: Process) -> Process:
    """Kill a worker; the one that takes its place."""
    assert worker.is_running, worker.said()
    worker.end(signal.SIGKILL)
    return grown.worker()


@pytest.mark.thorough
def test_a_group_that_changes_every_two_seconds_loses_and_doubles_nothing(grown: Cluster, url: str) -> None:
    """Each turn somebody comes, or somebody goes, told to end or killed; a turn lasts until who comes is at work."""
    workers = [grown.worker(), grown.worker()]
    told: list[Process] = []
    with Load(url, pause_s=0.05, timeout_s=60) as load:
        for turn in range(30):
            begun = time.monotonic()
            if turn % 2 == 0:
                workers.append(grown.worker())
                is_at_work(workers[-1])
            elif turn % 4 == 1:
                told.append(workers.pop(0))
                told[-1].tell(signal.SIGTERM)
            else:
                workers.pop(0).end(signal.SIGKILL)
            time.sleep(max(0.0, begun + 2 - time.monotonic()))
    grown.assert_visible(load.acknowledged)
    assert {answer.status for answer in load.answers} == {200}
    for worker in workers:
        assert worker.is_running, worker.said()
    for worker in told:
        assert worker.ended(seconds=60) == 0, worker.said()


def is_at_work(worker: Process) -> None:
    eventually(lambda: '"works"' in worker.log.read_text(encoding="utf-8"), AT_THE_POINT_SECONDS)


def test_everything_killed_at_once_comes_back_with_all_that_was_acknowledged(
    broker: Broker, grown: Cluster, url: str
) -> None:
    """The files of broker and store outlive their processes; what a power cut leaves is not shown here."""
    grown.worker()
    grown.worker()
    with Load(url, pause_s=0.05, timeout_s=60) as load:
        for _ in range(3):
            load.comes_through(AT_THE_POINT_SECONDS)
            time.sleep(4)
            kill_everything(broker, grown)
            for process in grown.processes:
                process.start()
            grown.clickhouse.start()
            broker.start()
            load.comes_through(AT_THE_POINT_SECONDS)
    assert {answer.status for answer in load.answers} <= {0, 200, 503}
    grown.assert_visible(load.acknowledged)
    for process in grown.processes:
        assert process.is_running, process.said()


def kill_everything(broker: Broker, grown: Cluster) -> None:
    """SIGKILL to all of them, before any is waited for."""
    assert broker.process is not None
    assert grown.clickhouse.process is not None
    all_of_them = [broker.process, grown.clickhouse.process, *(p.popen for p in grown.processes if p.popen)]
    for process in all_of_them:
        process.kill()
    for process in all_of_them:
        process.wait(30)
    broker.process = grown.clickhouse.process = None
