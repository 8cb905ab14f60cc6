"""A rebuild of the grown system: filled beside the live generation, by the workers, while all goes on."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.cluster import Cluster, cluster
from support.ingest_sender import Load
from support.ingest_service import eventually
from support.ingest_streams import LAYOUT
from tupli_ingest.adapters.clickhouse_client import ClickHouseClient
from tupli_ingest.adapters.generations import Generations
from tupli_schemas.tables import generation_database

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[Cluster]:
    more = {"TUPLI_INGEST_CATCHUP_PAUSE_RECORDS": "500", "TUPLI_INGEST_OLD_GENERATION_GRACE_S": "3"}
    with cluster(tmp_path, partitions=4, **more) as made:
        yield made


class Control:
    """What the store says of generations."""

    def __init__(self, grown: Cluster) -> None:
        self._client = ClickHouseClient(grown.clickhouse.connection)
        self.generations = Generations(self._client)

    def steps(self) -> int:
        """Steps that the serving generation shows."""
        database = generation_database(self.generations.serving())
        names = self._client.column(f"SELECT DISTINCT name FROM {database}.step_tables")
        if LAYOUT.table not in names:
            return 0
        return int(self._client.column(f"SELECT count() FROM {database}.{LAYOUT.table} FINAL")[0])

    def benchmarks(self) -> int:
        database = generation_database(self.generations.serving())
        return int(self._client.column(f"SELECT count() FROM {database}.benchmarks FINAL")[0])


def asked(url: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{url}/ingest/v1/rebuild", trust_env=False, timeout=30).json()
    return answer


def begin(url: str) -> str:
    answer = httpx.post(f"{url}/ingest/v1/rebuild", trust_env=False, timeout=60)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job"])


@pytest.mark.parametrize("killed", [False, True], ids=["in peace", "workers killed"])
def test_what_is_shown_never_shrinks_and_all_is_there(
    killed: bool,  # noqa: FBT001 -- a case
    grown: Cluster,
    url: str,
) -> None:
    workers = [grown.worker(), grown.worker()]
    control = Control(grown)
    seen: list[int] = []
    states: list[dict[str, Any]] = []
    with Load(url) as load:
        eventually(lambda: control.steps() > 2_000, 60)
        job = begin(url)
        assert begin(url) == job
        until = time.monotonic() + 120
        while control.generations.serving() == 1 and time.monotonic() < until:
            seen.append(control.steps())
            states.append(asked(url))
            if killed and len(seen) in (2, 6):
                workers[0].end(signal.SIGKILL)
                workers[0] = grown.worker()
            time.sleep(0.3)
        seen += [control.steps() for _ in range(5)]
        assert control.generations.serving() == int(job)
        time.sleep(3)
        seen.append(control.steps())
    assert seen == sorted(seen)
    assert {state["state"] for state in states[:-1]} == {"running"}
    assert states[1]["end"] > 0
    assert asked(url)["state"] == "done"
    grown.assert_visible(load.acknowledged, int(job))
    assert control.benchmarks() == 1
    assert all(worker.is_running for worker in workers), workers[0].said()
    eventually(lambda: 1 not in control.generations.others(), 60)


def test_a_worker_that_starts_after_the_switch_works_for_what_serves(grown: Cluster, url: str) -> None:
    worker = grown.worker()
    control = Control(grown)
    with Load(url) as load:
        eventually(lambda: control.steps() > 500, 60)
        job = begin(url)
        eventually(lambda: control.generations.serving() == int(job), 120)
        worker.end()
        grown.worker()
        time.sleep(3)
    grown.assert_visible(load.acknowledged, int(job))
