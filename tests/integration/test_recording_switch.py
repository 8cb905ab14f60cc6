"""Recording is switched off and on, and a storage to another server: what is told is what happens."""

from pathlib import Path

import gymnasium
import pytest

import tupli
from support.tiny_server import tiny_server
from tupli.storage.api import TupliAPIClient
from tupli.transport import FakeTransport
from tupli_schemas.events import EpisodeEnded, EpisodeStarted, StepsRecorded


def test_a_wrapper_says_whether_the_next_episode_is_recorded(tmp_path: Path) -> None:
    transport = FakeTransport()
    env = tupli.record(gymnasium.make("CartPole-v1"), "cartpole", transport=transport, spool_dir=tmp_path)

    def episode() -> None:
        env.reset(seed=1)
        env.step(0)

    assert env.is_recording
    episode()
    env.deactivate_recording()
    assert not env.is_recording
    episode()
    env.activate_recording()
    assert env.is_recording
    episode()
    env.close()
    started = [event for event in transport.events if isinstance(event, EpisodeStarted)]
    ended = [event for event in transport.events if isinstance(event, EpisodeEnded)]
    assert len(started) == len(ended) == 2
    assert ended[0].reason == "paused"
    rows = [event.rows() for event in transport.events if isinstance(event, StepsRecorded)]
    assert sum(int(batch.column("is_final").to_numpy().sum()) for batch in rows) == 2
    assert sum(batch.num_rows for batch in rows) == 4


def test_a_wrapper_without_a_benchmark_does_not_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUPLI_SPOOL_DIR", str(tmp_path))
    storage = TupliAPIClient("http://127.0.0.1:9", "")
    env = tupli.TupliEnvWrapper(gymnasium.make("CartPole-v1"), storage)
    assert not env.is_recording
    env.close()


def test_a_storage_talks_to_the_server_that_it_was_set_to() -> None:
    with tiny_server() as one, tiny_server() as other, TupliAPIClient(one.url, "") as storage:
        storage.store_benchmark("first")
        storage.set_url(other.url)
        assert storage.address == other.url
        storage.store_benchmark("second")
        assert list(one.kept.benchmarks) == ["first"]
        assert list(other.kept.benchmarks) == ["second"]
        storage.set_url(one.url)
        storage.store_benchmark("third")
        assert list(one.kept.benchmarks) == ["first", "third"]
