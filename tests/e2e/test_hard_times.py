"""A vector is recorded while its server dies again and again."""

import random
import time
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import tupli
from support.actor import EPISODE, Walk
from support.server_process import ServerProcess
from tupli.recording.flush import status

SLOTS = 3


def check_slot(name: str, url: str, slot: int, steps: int) -> None:
    """A slot's environment took all actions but those that its resets ignored, each once."""
    data = tupli.dataset(name, url=url).with_episode_filter(tupli.F("slot") == slot)
    episodes = list(data.iter_episodes())
    taken = [action for action in range(steps) if action % (EPISODE + 1) != EPISODE]
    np.testing.assert_array_equal(np.concatenate([episode.actions for episode in episodes]), taken)
    for number, episode in enumerate(episodes, start=1):
        expected = [[slot, number, count] for count in range(len(episode) + 1)]
        np.testing.assert_array_equal(episode.observations, expected)
        np.testing.assert_array_equal(episode.rewards, episode.actions)
        last = number < len(episodes) or len(episode) == EPISODE
        assert episode.header.status == ("truncated" if last else "aborted")


@pytest.mark.timeout(180)
def test_a_vector_loses_and_doubles_nothing_when_its_server_is_killed(tmp_path: Path) -> None:
    rng = random.Random(7)
    mode = gym.vector.AutoresetMode.NEXT_STEP
    envs = gym.vector.SyncVectorEnv([partial(Walk, slot) for slot in range(SLOTS)], autoreset_mode=mode)
    done = 0
    with ServerProcess(tmp_path / "data") as server:
        spool = tmp_path / "spool"
        with tupli.record(envs, "walk", url=server.url, spool_dir=spool, drain_timeout=60) as recorded:
            recorded.reset()
            for pause in (rng.uniform(0.1, 0.5), rng.uniform(0.5, 2), rng.uniform(2, 4)):
                end = time.monotonic() + pause
                while time.monotonic() < end or done % 10:
                    recorded.step(np.full(SLOTS, done))
                    done += 1
                    time.sleep(0.001)
                server.kill()
                for _ in range(100):
                    recorded.step(np.full(SLOTS, done))
                    done += 1
                server.start(wait=False)
        assert status(spool) == []
        for slot in range(SLOTS):
            check_slot("walk", server.url, slot, done)
        headers = tupli.dataset("walk", url=server.url).including("open", "incomplete", "conflict").preview()
        ignored = done // (EPISODE + 1)
        assert headers.n_tuples == SLOTS * (done - ignored)
