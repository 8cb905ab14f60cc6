"""The grown system and its broker: it is killed, stopped, frozen, or out of reach of the workers."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from support.broker_proxy import COORDINATOR, BrokerProxy
from support.cluster import Cluster, Process, cluster
from support.ingest_sender import Answer, Load, create_benchmark
from support.ingest_service import eventually
from support.kafka_broker import Broker

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_800)]

BACK_SECONDS = 240.0
"""For so long everybody may take to be at work again; the machine may be busy with other things."""
ON_ITS_WAY_SECONDS = 1.0
"""An answer that was on its way when the broker ended may come so much later."""
REQUEST_SECONDS = 10.0
SESSION_SECONDS = 15.0


@pytest.fixture
def grown(tmp_path: Path, broker: Broker) -> Iterator[Cluster]:
    with cluster(tmp_path, broker=broker.bootstrap) as made:
        yield made


@pytest.fixture
def url(grown: Cluster) -> str:
    """A gateway that does not wait for its broker for longer than this."""
    grown.more["TUPLI_KAFKA_REQUEST_TIMEOUT_MS"] = str(int(1_000 * REQUEST_SECONDS))
    url = grown.gateway()
    del grown.more["TUPLI_KAFKA_REQUEST_TIMEOUT_MS"]
    create_benchmark(url)
    return url


def at_work(grown: Cluster) -> list[Process]:
    """Two workers, each with partitions of its own."""
    workers = [grown.worker(), grown.worker()]
    eventually(lambda: all('"works"' in worker.said() for worker in workers), BACK_SECONDS)
    return workers


def is_ready(url: str) -> bool:
    return httpx.get(f"{url}/readyz", trust_env=False, timeout=60).status_code == 200


def go_on_by_themselves(grown: Cluster, workers: list[Process]) -> None:
    """No process ended, and the workers do what is there to do."""
    grown.settled(seconds=BACK_SECONDS)
    for process in [*grown.processes, *workers]:
        assert process.is_running, process.said()


def between(answers: list[Answer], begin: float, end: float) -> set[int]:
    return {answer.status for answer in answers if begin < answer.at < end}


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(Broker.kill, id="killed"),
        pytest.param(Broker.stop, id="stopped in order", marks=pytest.mark.thorough),
    ],
)
def test_a_broker_that_is_away_delays_and_loses_nothing(
    end: Callable[[Broker], None], broker: Broker, grown: Cluster, url: str
) -> None:
    workers = at_work(grown)
    with Load(url, pause_s=0.05, timeout_s=60) as load:
        for away_s in (3, 30):
            load.comes_through(BACK_SECONDS)
            time.sleep(4)
            end(broker)
            ended = time.monotonic()
            time.sleep(away_s)
            back = time.monotonic()
            assert 200 not in between(load.answers, ended + ON_ITS_WAY_SECONDS, back)
            broker.start()
            load.comes_through(BACK_SECONDS)
            eventually(lambda: is_ready(url), BACK_SECONDS)
        assert between(load.answers, ended + ON_ITS_WAY_SECONDS, back) == {503}
        time.sleep(4)
    assert {answer.status for answer in load.answers} == {200, 503}
    go_on_by_themselves(grown, workers)
    grown.assert_visible(load.acknowledged)


@pytest.mark.thorough
def test_a_broker_that_was_frozen_past_the_session_delays_and_loses_nothing(
    broker: Broker, grown: Cluster, url: str
) -> None:
    workers = at_work(grown)
    assert broker.process is not None
    with Load(url, pause_s=0.05, timeout_s=60) as load:
        load.comes_through(BACK_SECONDS)
        time.sleep(4)
        os.kill(broker.process.pid, signal.SIGSTOP)
        time.sleep(SESSION_SECONDS + 5)
        os.kill(broker.process.pid, signal.SIGCONT)
        load.comes_through(BACK_SECONDS)
        time.sleep(4)
    assert {answer.status for answer in load.answers} <= {200, 503}
    go_on_by_themselves(grown, workers)
    grown.assert_visible(load.acknowledged)


OUT_OF_REACH: dict[str, Callable[[BrokerProxy], None]] = {
    "the coordinator does not answer": lambda proxy: proxy.hold(COORDINATOR),
    "the coordinator's connections are cut": lambda proxy: proxy.cut(COORDINATOR),
    "nothing comes through": lambda proxy: proxy.hold(),
    "every connection is cut": lambda proxy: proxy.cut(),
}


@pytest.mark.thorough
@pytest.mark.parametrize("lost", OUT_OF_REACH.values(), ids=OUT_OF_REACH)
def test_workers_that_lose_their_coordinator_find_it_again(
    lost: Callable[[BrokerProxy], None], proxy: BrokerProxy, grown: Cluster, url: str
) -> None:
    """The gateway's way to the broker stays open: there is something to do when the workers are back."""
    grown.more["TUPLI_KAFKA_BROKERS"] = f"127.0.0.1:{proxy.port}"
    workers = at_work(grown)
    with Load(url, pause_s=0.05, timeout_s=60) as load:
        time.sleep(4)
        for seconds in (3.0, SESSION_SECONDS + 5):
            lost(proxy)
            time.sleep(seconds)
            proxy.pass_on()
            time.sleep(4)
    assert {answer.status for answer in load.answers} == {200}
    go_on_by_themselves(grown, workers)
    grown.assert_visible(load.acknowledged)
