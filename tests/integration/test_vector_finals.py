"""What ends an episode of a vector is kept as what stands beside it, in every mode of autoreset."""

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from support.loop_oracle import Run, recorded_runs
from support.telling import telling
from tupli.recording import record
from tupli.transport import FakeTransport

LENGTH, SLOTS = 5, 3
FLAT = Box(-10, 10, (3,), np.float32)
MODES = pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)


class Loose(gym.Env[Any, Any]):
    """Gives float64 where its space says float32, as Gymnasium lets it; its resets tell of their episode."""

    def __init__(self, seed: int, form: str = "array") -> None:
        self.form = form
        self.observation_space = Dict({"a": FLAT, "b": FLAT}) if "dict" in form else FLAT
        self.action_space = gym.spaces.Discrete(2)
        self.shown: list[list[Any]] = []
        self.rng = np.random.default_rng(seed)

    def show(self) -> Any:
        values = {name: self.rng.normal(size=3) for name in "ab"}
        self.shown[-1].append({k: v.astype(np.float32) for k, v in values.items()})
        given = {"c": 1, **values} if self.form == "dict and more" else values
        if "list" in self.form:
            given = {name: value.tolist() for name, value in values.items()}
        return given if "dict" in self.form else given["a"]

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.shown.append([])
        return self.show(), {"episode": len(self.shown), "level": 2}

    def step(self, action: Any) -> Any:
        return self.show(), 1.0, len(self.shown[-1]) == LENGTH + 1, False, {}


def vector_of(ones: list[Loose], mode: AutoresetMode) -> SyncVectorEnv:
    made = iter(ones)
    return SyncVectorEnv([partial(next, made)] * len(ones), autoreset_mode=mode)


def played(envs: Any, folder: Path, mode: AutoresetMode) -> dict[int, list[Run]]:
    """The whole episodes of each slot."""
    transport = FakeTransport()
    with record(envs, "loose", transport=transport, spool_dir=folder, autoreset=mode.name.lower()) as wrapped:
        wrapped.reset()
        for _ in range(4 * (LENGTH + 1)):
            _, _, ended, _, _ = wrapped.step(np.ones(SLOTS, np.int64))
            if mode is AutoresetMode.DISABLED and ended.any():
                wrapped.reset(options={"reset_mask": ended})
    out: dict[int, list[Run]] = defaultdict(list)
    for run in recorded_runs(transport.events):
        assert run.start is not None
        assert run.end is not None
        if run.end.terminated:
            out[run.start.slot].append(run)
    return out


@MODES
@pytest.mark.parametrize("form", ["array", "dict", "list", "dict of lists", "dict and more"])
def test_observations_that_gymnasium_casts_end_episodes_too(
    form: str, mode: AutoresetMode, tmp_path: Path
) -> None:
    ones = [Loose(slot, form) for slot in range(SLOTS)]
    envs = vector_of(ones, mode)
    runs = played(envs, tmp_path, mode)
    for slot, one in enumerate(ones):
        assert len(runs[slot]) >= 3
        for run, shown in zip(runs[slot], one.shown[-len(runs[slot]) - 1 :], strict=False):
            assert len(run.observations) == LENGTH + 1
            wanted = shown if "dict" in form else [values["a"] for values in shown]
            np.testing.assert_equal(run.observations, wanted)


@MODES
def test_what_a_reset_tells_of_its_episode_is_kept(mode: AutoresetMode, tmp_path: Path) -> None:
    ones = [Loose(slot) for slot in range(SLOTS)]
    envs = vector_of(ones, mode)
    told = [run.reset_info for run in played(envs, tmp_path, mode)[0]]
    if mode is AutoresetMode.SAME_STEP:
        # There it is RecordEpisodeStatistics' word, of the episode that ended.
        assert told[1:] == [{"level": 2}] * (len(told) - 1)
    else:
        first = told[0]["episode"]
        assert told == [{"episode": first + number, "level": 2} for number in range(len(told))]


class Cut(gym.vector.VectorWrapper):
    """Loses a part of final observations."""

    def step(self, actions: Any) -> Any:
        *rest, infos = self.env.step(actions)
        if "final_obs" in infos:
            infos["final_obs"] = np.array(
                [None if v is None else v[:2] for v in infos["final_obs"]] + [0], object
            )[:-1]
        return *rest, infos


def test_a_final_observation_that_fits_nothing_is_told(tmp_path: Path) -> None:
    ones = [Loose(slot) for slot in range(SLOTS)]
    envs = Cut(vector_of(ones, AutoresetMode.SAME_STEP))
    with telling() as told:
        runs = played(envs, tmp_path, AutoresetMode.SAME_STEP)
    assert len([line for line in told if "does not fit" in line]) == 1
    assert all(len(run.observations) == len(run.actions) == LENGTH for run in runs[0])


class Odd(gym.vector.VectorWrapper):
    """Says of the end what nobody can read, or nothing of its observations."""

    def __init__(self, env: Any, key: str, value: Any) -> None:
        super().__init__(env)
        self.key, self.value = key, value

    def step(self, actions: Any) -> Any:
        *rest, infos = self.env.step(actions)
        if "final_obs" in infos:
            infos[self.key] = self.value
        return *rest, infos


@pytest.mark.parametrize("value", ["lost", np.arange(SLOTS) + 1, [{}]], ids=["text", "numbers", "too few"])
def test_final_infos_that_cannot_be_read_cost_no_step(value: Any, tmp_path: Path) -> None:
    ones = [Loose(slot) for slot in range(SLOTS)]
    envs = Odd(vector_of(ones, AutoresetMode.SAME_STEP), "final_info", value)
    with telling() as told:
        runs = played(envs, tmp_path, AutoresetMode.SAME_STEP)
    assert len([line for line in told if "final infos cannot be read" in line]) == 1
    for slot in range(SLOTS):
        assert len(runs[slot]) == 4
        assert all(len(run.observations) == len(run.actions) + 1 == LENGTH + 1 for run in runs[slot])


@pytest.mark.parametrize("mask", [np.zeros(SLOTS, bool), [False] * SLOTS], ids=["array", "list"])
def test_a_final_observation_that_is_not_given_is_told(mask: Any, tmp_path: Path) -> None:
    ones = [Loose(slot) for slot in range(SLOTS)]
    envs = Odd(vector_of(ones, AutoresetMode.SAME_STEP), "_final_obs", mask)
    with telling() as told:
        runs = played(envs, tmp_path, AutoresetMode.SAME_STEP)
    assert len([line for line in told if "final observation is not given" in line]) == 1
    infos = [info for slot in runs.values() for run in slot for info in run.infos]
    assert not any(key.startswith("_") for info in infos for key in info)
    assert all(len(run.observations) == len(run.actions) == LENGTH for run in runs[0])
