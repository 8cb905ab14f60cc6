"""Environments and agents that use their objects again: what is kept is what a careful loop saw, which copies all."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from support.loop_oracle import Run, assert_same, recorded_runs
from tupli.recording import record
from tupli.transport import FakeTransport

EPISODES, STEPS = 3, 6


class Reusing(gym.Env[Any, Any]):
    """Gives the same observation, the same info and the same reward object in every step, and changes the action.

    Args:
        make: Makes the observation's buffers, of a kind whose arrays `fill` finds.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._observation = make()
        self.observation_space = gym.spaces.Discrete(2)
        self.action_space = gym.spaces.Discrete(2)
        self._info: dict[str, Any] = {"deep": {"path": []}, "array": np.zeros(2)}
        self._reward = np.zeros(())
        self._at = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self._at = 0
        self._info["deep"]["path"].clear()
        self._change()
        return self._observation, self._info

    def step(self, action: Any) -> Any:
        self._at += 1
        self._change()
        change(action, 77)
        return self._observation, self._reward, self._at == STEPS, False, self._info

    def _change(self) -> None:
        change(self._observation, self._at)
        self._info["deep"]["path"].append(self._at)
        self._info["array"][:] = self._at
        self._reward[...] = self._at / 8


def change(value: Any, number: int) -> None:
    """Write the number into all arrays and lists of a value."""
    if isinstance(value, np.ndarray):
        value[...] = number
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            change(item, number)
        if isinstance(value, list) and value and not isinstance(value[0], np.ndarray):
            value[:] = [float(number)] * len(value)


KINDS: dict[str, Callable[[], Any]] = {
    "vector": lambda: np.zeros(3, np.float32),
    "image": lambda: np.zeros((4, 5), np.uint8),
    "number": lambda: np.zeros((), np.float64),
    "dict": lambda: {"a": np.zeros(2), "b": (np.zeros(1, np.int16), np.zeros(2, np.float16))},
    "list": lambda: [0.0, 0.0],
    "strided": lambda: np.zeros((4, 6), np.float32)[::2, ::3].T,
    "objects": lambda: {"a": [np.zeros(2), "text"]},
}


def play(env: Any, action: Any, changed: Callable[[Any, int], None], runs: list[Run] | None = None) -> None:
    """Episodes of an agent that has one action object; what it sees and does goes to `runs`, copied."""
    for episode in range(EPISODES):
        observation, info = env.reset()
        run = Run([copy.deepcopy(observation)], reset_info=copy.deepcopy(info))
        for step in range(STEPS):
            changed(action, 10 * episode + step)
            run.actions.append(copy.deepcopy(action))
            observation, reward, terminated, truncated, info = env.step(action)
            changed(action, 99)
            run.rewards.append(float(reward))
            run.terminated.append(bool(terminated))
            run.truncated.append(bool(truncated))
            run.observations.append(copy.deepcopy(observation))
            run.infos.append(copy.deepcopy(info))
        if runs is not None:
            runs.append(run)


@pytest.mark.parametrize("action", KINDS)
@pytest.mark.parametrize("observation", KINDS)
def test_objects_that_are_used_again(observation: str, action: str, tmp_path: Path) -> None:
    plain: list[Run] = []
    play(Reusing(KINDS[observation]), KINDS[action](), change, plain)
    transport = FakeTransport()
    with record(Reusing(KINDS[observation]), "any", transport=transport, spool_dir=tmp_path) as env:
        play(env, KINDS[action](), change)
    for one, other in zip(recorded_runs(transport.events), plain, strict=True):
        assert_same(one, other)


def test_options_are_those_that_were_given(tmp_path: Path) -> None:
    class Taking(Reusing):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            assert options is not None
            options.pop("level")  # as Gymnasium's own vectors do
            return super().reset(seed=seed)

    transport = FakeTransport()
    with record(Taking(KINDS["vector"]), "any", transport=transport, spool_dir=tmp_path) as env:
        for level in range(EPISODES):
            options: dict[str, Any] = {"level": level, "maps": [level]}
            env.reset(options=options)
            options["maps"] += [-1]
            for _ in range(STEPS):
                env.step(np.zeros(2))
    starts = [run.start for run in recorded_runs(transport.events)]
    assert [start and start.options for start in starts] == [
        {"level": level, "maps": [level]} for level in range(EPISODES)
    ]
