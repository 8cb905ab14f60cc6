"""Recorders inside the cluster, straight to Kafka: what they wrote is there, and what nobody allowed is a dead letter."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

import tupli
from support import direct_actor
from support.actor import EPISODE
from support.direct_cluster import PARTITIONS, Inside, Sent, inside_cluster
from support.direct_records import Deployment, direct_events, named, values_of
from support.environments import make, plain_runs
from support.ingest_service import eventually
from support.ingest_streams import LAYOUT, OTHER_SUBJECT
from tupli import TupliAPIClient
from tupli_ingest.adapters.clickhouse_client import ClickHouseClient
from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.kafka_log import MAX_REQUEST_BYTES
from tupli_ingest.adapters.kafka_topics import partitioner
from tupli_schemas.direct import Sealed
from tupli_schemas.events import DIRECT_TOPIC, Event
from tupli_schemas.ids import make_direct_id, make_id

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Inside]:
    with inside_cluster(tmp_path) as made:
        yield made


def test_what_goes_straight_to_kafka_is_what_a_plain_loop_sees(inside: Inside, tmp_path: Path) -> None:
    recorder = inside.recorder(tmp_path / "spool")
    said, wrong = recorder.communicate(timeout=120)
    assert (recorder.returncode, wrong) == (0, "")
    inside.grown.settled()
    plain = plain_runs(make("cartpole"), json.loads(said), direct_actor.SEED)
    with TupliAPIClient(inside.url) as storage:
        arrays = tupli.dataset("bench", storage=storage).to_numpy()
    whole = np.concatenate([run.observations[: len(run.actions)] for run in plain])
    np.testing.assert_array_equal(arrays["observation"], whole)
    np.testing.assert_array_equal(arrays["reward"], np.concatenate([run.rewards for run in plain]))
    assert inside.grown.dead_letters() == []
    assert not list((tmp_path / "spool").glob("*/*/manifest.json"))
    inside.grown.assert_as_the_log_says()


@pytest.mark.faults
def test_a_killed_recorders_steps_are_delivered_by_a_flush(inside: Inside, tmp_path: Path) -> None:
    counter, spool = tmp_path / "counter", tmp_path / "spool"
    counter.write_bytes(bytes(4096))
    recorder = inside.recorder(spool, str(counter))

    def completed() -> int:
        assert recorder.poll() is None, recorder.communicate()[1]
        return int.from_bytes(counter.read_bytes()[:8], "little")

    eventually(lambda: completed() > 20 * EPISODE, 60)
    recorder.kill()
    recorder.communicate()
    steps = int.from_bytes(counter.read_bytes()[:8], "little")
    command = [sys.executable, "-m", "tupli.cli.main", "spool", "flush", "--url", inside.address]
    env = os.environ | {"TUPLI_GRANT": str(inside.grant), "TUPLI_SPOOL_DIR": str(spool)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    inside.grown.settled()
    with TupliAPIClient(inside.url) as storage:
        arrays = tupli.dataset("bench", storage=storage).to_numpy()
    assert len(arrays["reward"]) in (steps, steps + 1)
    assert sorted(arrays["action"].tolist()) == list(range(len(arrays["action"])))
    assert inside.grown.dead_letters() == []
    inside.grown.assert_as_the_log_says()


_FULL = MAX_REQUEST_BYTES - 1_000


def elsewhere(key: bytes) -> int:
    return (partitioner(PARTITIONS)(key) + 1) % PARTITIONS


def poison(inside: Inside, good: Sequence[Event]) -> dict[str, list[Sent]]:
    """What nobody allowed, by the code that it gets."""
    signer, start = inside.signer(), good[0]
    key, other, through = start.stream, make_direct_id(2, 2), make_id(3, 3)
    sealed = Sealed.from_bytes(values_of(good[:1], signer)[0])
    expired = values_of(good[:1], inside.signer(later=-7_200))[0]
    later = values_of(good[:1], inside.signer(later=7_200))[0]
    foreign = values_of([named(start, OTHER_SUBJECT)], signer)[0]
    bound = values_of(good[:1], inside.signer(stream=other))[0]
    (inside.deployment.folder / "strange").mkdir()
    strange = Deployment(inside.deployment.folder / "strange").signer(int(time.time()))
    unmarked = values_of([replace(start, stream=through)], signer)[0]
    broken = values_of([replace(good[1], last=good[1].last + 1)], signer)[0]  # type: ignore[arg-type]  # it has one
    return {
        "no_grant": [
            (key, sealed.event, None),
            (key, b"", None),
            (key, b"TDR1", None),
            (None, b"junk", 0),
            (key, None, None),
            (bytes(_FULL), b"", 1),  # as much as the topic takes: no letter has room for it
            (key, bytes(_FULL), None),
        ],
        "grant_refused": [
            (key, expired, None),
            (key, later, None),
            (key, values_of(good[:1], strange)[0], None),
            (key, replace(sealed, grant=b"e30.e30.e30").to_bytes(), None),
        ],
        "bad_signature": [
            (key, replace(sealed, signature=bytes(64)).to_bytes(), None),
            (other, sealed.to_bytes(), None),
        ],
        "not_granted": [(key, foreign, None), (key, bound, None)],
        "not_direct": [(through, unmarked, None), (key, sealed.to_bytes(), elsewhere(key))],
        "invalid_event": [(key, broken, None)],
        "foreign_owner": [(key, values_of(good[1:2], inside.signer(subject=OTHER_SUBJECT))[0], None)],
    }


@pytest.mark.faults
def test_what_nobody_allowed_is_a_dead_letter_today_and_after_a_rebuild(inside: Inside) -> None:
    good = direct_events(2, 30, stream=make_direct_id(1, 1), cut=10)
    bad = poison(inside, good)
    allowed: list[Sent] = [(good[0].stream, value, None) for value in values_of(good, inside.signer())]
    inside.append([*allowed[:2], *(one for some in bad.values() for one in some), *allowed[2:]])
    inside.grown.settled()
    expected = sorted(code for code, some in bad.items() for _ in some)
    letters = inside.grown.dead_letters()
    assert sorted(letter.code for letter in letters) == expected
    assert {letter.topic for letter in letters} == {DIRECT_TOPIC}
    shown = inside.grown.shown()
    assert len(shown[LAYOUT.table]) == 62
    assert [line.count(b"\tterminated\t") for line in shown["episodes"]] == [1, 1]
    replays_nothing(inside, len(letters))
    stays_foreign(inside)
    job = httpx.post(f"{inside.url}/ingest/v1/rebuild", trust_env=False, timeout=60).json()["job"]
    client = ClickHouseClient(inside.grown.clickhouse.connection)
    eventually(lambda: Generations(client).serving() == int(job), 120)
    client.close()
    assert inside.grown.assert_as_the_log_says(int(job)) == shown
    assert len(inside.grown.dead_letters()) == len(letters) + 1


def stays_foreign(inside: Inside) -> None:
    """A record that is replayed goes back to its own topic, with its own signature, and is whose it was."""
    before = inside.grown.dead_letters()
    wanted = {"code": "foreign_owner"}
    answer = httpx.post(
        f"{inside.url}/ingest/v1/dead-letters/replay", json=wanted, trust_env=False, timeout=60
    ).json()
    assert [one["topic"] for one in answer["replayed"]] == [DIRECT_TOPIC]
    inside.grown.settled()
    *same, new = inside.grown.dead_letters()
    assert same == before
    assert (new.topic, new.code) == (DIRECT_TOPIC, "foreign_owner")


def replays_nothing(inside: Inside, letters: int) -> None:
    """A letter shows its place in its topic; none of them is appended again, as somebody else's or as it was."""
    page = httpx.get(f"{inside.url}/ingest/v1/dead-letters", trust_env=False, timeout=30).json()["letters"]
    assert {letter["topic"] for letter in page} == {DIRECT_TOPIC}
    assert {letter["position"]["partition"] for letter in page} <= set(range(PARTITIONS))
    codes = {letter["code"]: letter["index"] for letter in page}
    shown = httpx.get(
        f"{inside.url}/ingest/v1/dead-letters/{codes['not_granted']}", trust_env=False, timeout=60
    ).json()
    assert shown["record"]["event"] == "EpisodeStarted"
    never = [index for code, index in codes.items() if code not in ("invalid_event", "foreign_owner")]
    answer = httpx.post(
        f"{inside.url}/ingest/v1/dead-letters/replay", json={"indexes": never}, trust_env=False, timeout=60
    ).json()
    assert (answer["replayed"], sorted(one["index"] for one in answer["skipped"])) == ([], sorted(never))
    assert len(page) == letters
