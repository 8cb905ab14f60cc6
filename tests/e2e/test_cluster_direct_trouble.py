"""A recorder that goes straight to Kafka loses nothing while its broker is away and its grant is spoilt."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tupli
from support.actor import EPISODE, Walk
from support.direct_cluster import Inside, inside_cluster
from support.ingest_streams import BENCHMARK
from support.kafka_broker import Broker
from support.telling import telling
from tupli import TupliAPIClient
from tupli_schemas.ids import id_text

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.fixture
def inside(tmp_path: Path, broker: Broker) -> Iterator[Inside]:
    with inside_cluster(tmp_path, broker=broker.bootstrap) as made:
        yield made


class Walker:
    """Takes steps that are numbered by their actions."""

    def __init__(self, env: Any) -> None:
        self.env, self.steps = env, 0
        env.reset()

    def walk(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.steps and self.steps % EPISODE == 0:
                self.env.reset()
            self.env.step(np.int64(self.steps))
            self.steps += 1
            time.sleep(0.002)


def test_a_broker_that_goes_and_a_grant_that_is_spoilt(
    inside: Inside, broker: Broker, tmp_path: Path
) -> None:
    good = tmp_path / "good.json"
    inside.order_grant(good)
    walker = Walker(
        tupli.record(
            Walk(),
            id_text(BENCHMARK),
            transport=inside.address,
            grant=inside.grant,
            spool_dir=tmp_path / "spool",
        )
    )
    walker.walk(1)
    with telling() as told:
        broker.kill()
        walker.walk(2)
        broker.start()
        walker.walk(1)
        inside.grant.write_text("{")
        walker.walk(3)
        good.rename(inside.grant)
        walker.walk(1)
        walker.env.close()
    assert [line for line in told if "holds no grant" in line]
    inside.grown.settled()
    with TupliAPIClient(inside.url) as storage:
        arrays = tupli.dataset("bench", storage=storage).to_numpy()
    assert arrays["action"].tolist() == list(range(walker.steps))
    assert inside.grown.dead_letters() == []
    inside.grown.assert_as_the_log_says()
