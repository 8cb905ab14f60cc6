"""The grown system as a user meets it: one address, a recording in one line, a dataset, commands."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

import tupli
from support.cluster import Cluster, cluster
from support.environments import make, plain_runs, play
from tupli import F, TupliAPIClient

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as made:
        yield made


def test_what_is_recorded_is_pulled_and_deleted(grown: Cluster, tmp_path: Path) -> None:
    url = grown.server(module="tupli_standalone.front")
    worker = grown.worker()
    with tupli.record(make("cartpole"), "grown", url=url, spool_dir=tmp_path / "spool") as env:
        actions = play(env, 300, 5)
    with TupliAPIClient(url) as storage:
        data = tupli.dataset("grown", storage=storage)
        arrays = data.to_numpy()
        assert len(arrays["reward"]) == 300
        plain = plain_runs(make("cartpole"), actions, 5)
        whole = np.concatenate([run.observations[: len(run.actions)] for run in plain])
        np.testing.assert_array_equal(arrays["observation"], whole)
        some = data.with_tuple_filter(F("observation[0]") > 0).to_numpy()
        np.testing.assert_array_equal(some["observation"], whole[whole[:, 0] > 0])
        first, *others = data.preview()
        storage.delete_episode(first.id)
        assert {one.id for one in data.preview()} == {one.id for one in others}
    assert worker.end() == 0


def test_the_query_service_is_a_process_of_its_own(grown: Cluster) -> None:
    url = grown.server(module="tupli_query")
    answer = httpx.post(f"{url}/query/v1/benchmarks/list", json={}, trust_env=False, timeout=30)
    assert (answer.status_code, answer.json()["benchmarks"]) == (200, [])
    grown.clickhouse.kill()
    answer = httpx.get(f"{url}/readyz", trust_env=False, timeout=30)
    assert answer.status_code >= 500
    assert answer.headers["content-type"] == "application/problem+json"
    (process,) = grown.processes
    assert process.end() == 0
