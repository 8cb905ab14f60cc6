"""What streams hold, over real processes: late, repeated, contradicting, claimed by two, with clocks a day off."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.cluster import Cluster, cluster
from support.ingest_sender import create_benchmark, send_events
from support.ingest_service import eventually
from support.ingest_stories import FINAL_ROW, FIRST_ROW, Story, stories
from support.ingest_streams import BENCHMARK, LAYOUT
from tupli_ingest.adapters.clickhouse_client import ClickHouseClient
from tupli_ingest.adapters.kafka_reader import ThreadLog
from tupli_schemas.events import EPISODES_TOPIC
from tupli_schemas.ids import episode_id, id_text
from tupli_schemas.records import NewRecord
from tupli_schemas.tables import generation_database

PARTS = 3


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as made:
        yield made


@contextmanager
def records_into(grown: Cluster) -> Iterator[ThreadLog]:
    log = ThreadLog(grown.kafka)
    yield log
    log.close()


def tell(url: str, log: ThreadLog, told: Sequence[Story], part: int) -> None:
    """Send this part of every story, in turns of one event or record each."""
    queues = [list(story.parts[part].sent) for story in told]
    while any(queues):
        for queue in queues:
            if queue:
                one = queue.pop(0)
                if isinstance(one, NewRecord):
                    log.append_now(EPISODES_TOPIC, [one])
                else:
                    send_events(url, [one])


def assert_told(grown: Cluster, url: str, told: Sequence[Story], part: int) -> None:
    """The gateway says of every stream what its story says."""
    grown.settled()
    for story in told:
        answer = httpx.get(f"{url}/ingest/v1/streams/{id_text(story.stream)}", trust_env=False, timeout=30)
        assert answer.status_code == 200, f"{story.name}: {answer.text}"
        statuses = {one["ordinal"]: one["status"] for one in answer.json()["episodes"]}
        assert statuses == story.parts[part].statuses, f"{story.name}, part {part}"


def assert_ends_well(grown: Cluster, told: Sequence[Story], generation: int = 1) -> None:
    """Steps stand there once and as they came first, and dead letters are exactly those of the stories."""
    grown.assert_as_the_log_says(generation)
    shown = steps_of(grown, generation)
    for story in told:
        for ordinal, status in story.statuses.items():
            rewards = shown.pop(episode_id(story.stream, ordinal))
            whole = status in ("terminated", "conflict")
            assert list(rewards) == list(range(len(rewards))), story.name
            assert (len(rewards) == FINAL_ROW - FIRST_ROW + 1) == whole, story.name
            if ordinal == 1:
                assert rewards[5] == story.reward, story.name
    assert not shown
    streams = {story.stream: story for story in told}
    letters = Counter((letter.key, letter.code) for letter in grown.dead_letters())
    expected = Counter((key, code) for key, story in streams.items() for code in story.letters)
    assert letters == expected


def steps_of(grown: Cluster, generation: int) -> dict[bytes, dict[int, float]]:
    """Rewards by step of each episode that a generation has under the benchmark."""
    client = ClickHouseClient(grown.clickhouse.connection)
    database = generation_database(generation)
    rows = client.table(
        f"SELECT benchmark, episode, step, reward FROM {database}.{LAYOUT.table} FINAL ORDER BY episode, step"
    ).to_pylist()
    client.close()
    assert {row["benchmark"] for row in rows} == {BENCHMARK}
    found: dict[bytes, dict[int, float]] = {}
    for row in rows:
        assert row["step"] not in found.setdefault(row["episode"], {})
        found[row["episode"]][row["step"]] = row["reward"]
    return found


def rebuilt(grown: Cluster, url: str) -> int:
    """The generation of a rebuild that is done."""
    before = grown.shown()
    job = httpx.post(f"{url}/ingest/v1/rebuild", trust_env=False, timeout=60).json()["job"]
    state = f"{url}/ingest/v1/rebuild"
    eventually(lambda: httpx.get(state, trust_env=False, timeout=30).json()["state"] == "done", 120)
    assert grown.shown(int(job)) == before
    return int(job)


def listed(query_url: str, *include: str) -> dict[str, str]:
    """Statuses of all episodes as a reader gets them; each is there once."""
    body = {"include": list(include)}
    answer = httpx.post(f"{query_url}/query/v1/episodes/list", json=body, trust_env=False, timeout=30)
    assert answer.status_code == 200, answer.text
    pairs: list[Any] = [(one["id"], one["status"]) for one in answer.json()["episodes"]]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@pytest.mark.timeout(300)
def test_what_comes_in_any_way_is_told_and_shown_as_it_came_first(grown: Cluster) -> None:
    url, query_url = grown.gateway(), grown.server(module="tupli_query")
    create_benchmark(url)
    grown.worker()
    told = stories()
    with records_into(grown) as log:
        for part in range(PARTS):
            tell(url, log, told, part)
            assert_told(grown, url, told, part)
    assert_ends_well(grown, told)
    mine = [story for story in told if story.name != "claimed by another first"]
    assert listed(query_url, "open", "incomplete", "conflict") == {
        id_text(episode_id(story.stream, ordinal)): status
        for story in mine
        for ordinal, status in story.statuses.items()
    }


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_the_same_with_workers_killed_in_the_middle_and_after_a_rebuild(grown: Cluster) -> None:
    url = grown.gateway()
    create_benchmark(url)
    workers = [grown.worker(), grown.worker()]
    seeded = random.Random(11)
    told = stories()
    with records_into(grown) as log:
        for part in range(PARTS):
            tell(url, log, told, part)
            time.sleep(seeded.uniform(0.0, 0.3))
            for victim in range(2):
                workers[victim].end(signal.SIGKILL)
                workers[victim] = grown.worker()
            assert_told(grown, url, told, part)
    assert_ends_well(grown, told)
    assert_ends_well(grown, told, rebuilt(grown, url))
    assert_told(grown, url, told, PARTS - 1)


def test_stories_differ() -> None:
    told = stories()
    assert {len(story.parts) for story in told} == {PARTS}
    assert len({story.stream for story in told}) == len(told)
    assert all(part.sent for story in told for part in story.parts)
