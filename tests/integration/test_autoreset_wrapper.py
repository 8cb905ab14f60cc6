"""Gymnasium's `Autoreset` of a single environment, under the recording or around it: no episode is lost."""

import copy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import Autoreset

from support.environments import make, plain_runs
from support.loop_oracle import assert_same, recorded_runs
from tupli.recording import record
from tupli.transport import FakeTransport

SEED = 5


def play(env: Any, steps: int) -> list[Any]:
    """The actions that the environment took: the step after an end is a reset, which ignores its own."""
    env.action_space.seed(SEED)
    env.reset(seed=SEED)
    taken, resetting = [], False
    for _ in range(steps):
        action = env.action_space.sample()
        if not resetting:
            taken.append(copy.deepcopy(action))
        _, _, terminated, truncated, _ = env.step(action)
        if isinstance(action, np.ndarray):
            action[...] = 0
        resetting = terminated or truncated
    return taken


@pytest.mark.parametrize("place", ["under", "under another wrapper", "around"])
@pytest.mark.parametrize("kind", ["cartpole", "pendulum", "dict", "image"])
def test_every_episode_is_there(kind: str, place: str, tmp_path: Path) -> None:
    transport = FakeTransport()
    env: gym.Env[Any, Any] = make(kind)
    if place != "around":
        env = Autoreset(env)
    if place == "under another wrapper":
        env = gym.wrappers.TransformReward(env, lambda reward: reward)
    recorded = record(env, "any", transport=transport, spool_dir=tmp_path)
    taken = play(Autoreset(recorded) if place == "around" else recorded, 150)
    recorded.close()
    runs, plain = recorded_runs(transport.events), plain_runs(make(kind), taken, SEED)
    assert len(plain) > 5
    assert len(runs) - len(plain) in (0, 1)
    for one, other in zip(runs, plain, strict=False):
        assert_same(one, other)
        assert one.end is not None
        assert one.end.aborted == (not (other.terminated[-1] or other.truncated[-1]))
