"""Recorded vector environments give the same transitions as plain loops over their environments, in every mode."""

from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from support.loop_oracle import Run, assert_same, recorded_runs
from tupli.recording import record
from tupli.transport import FakeTransport

SLOTS = 3
MODES = ["next_step", "same_step", "disabled"]


class Counting(gymnasium.Env[Any, Any]):
    """Ends after 2 to 5 steps, by truncation or termination; everything in it is a function of seed and actions."""

    def __init__(self, slot: int) -> None:
        self.observation_space = gymnasium.spaces.Dict(
            x=gymnasium.spaces.Box(-100, 100, (2,), np.float32), n=gymnasium.spaces.Discrete(100)
        )
        self.action_space = gymnasium.spaces.Discrete(5)
        self.slot, self.episode, self.count = slot, 0, 0

    def _observe(self) -> dict[str, Any]:
        return {"x": np.array([self.slot, self.count], np.float32), "n": np.int64(self.episode)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.episode, self.count = self.episode + 1, 0
        return self._observe(), {"episode_number": self.episode}

    def step(self, action: Any) -> Any:
        self.count += 1
        last = self.count == 2 + (self.slot + self.episode) % 4
        terminated = last and self.episode % 2 == 0
        info = {"steps": self.count, "half": self.count / 2} if self.count % 2 else {}
        return self._observe(), float(action) + self.slot, terminated, last and not terminated, info


def make_vector(mode: str, kind: Any = gymnasium.vector.SyncVectorEnv) -> Any:
    fns = [lambda slot=slot: Counting(slot) for slot in range(SLOTS)]
    return kind(fns, autoreset_mode=gymnasium.vector.AutoresetMode[mode.upper()])


def drive(envs: Any, mode: str, steps: int) -> list[list[Any]]:
    """Step the vector; returns the actions that each slot's environment really took."""
    rng = np.random.default_rng(0)
    taken: list[list[Any]] = [[] for _ in range(SLOTS)]
    envs.reset(seed=5)
    resetting = np.zeros(SLOTS, bool)
    for _ in range(steps):
        actions = rng.integers(0, 5, SLOTS)
        sent = actions.copy()
        _, _, terminated, truncated, _ = envs.step(sent)
        sent[:] = -1  # an agent that changes its array in place
        ended = terminated | truncated
        for slot in range(SLOTS):
            if not (mode == "next_step" and resetting[slot]):
                taken[slot].append(actions[slot])
        if mode == "disabled" and ended.any():
            envs.reset(options={"reset_mask": ended})
        resetting = ended
    return taken


def plain_runs(slot: int, actions: list[Any]) -> list[Run]:
    env = Counting(slot)
    observation, info = env.reset()
    runs = [Run([observation], reset_info=info)]
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        run = runs[-1]
        run.actions.append(action)
        run.rewards.append(reward)
        run.terminated.append(terminated)
        run.truncated.append(truncated)
        run.infos.append(info)
        run.observations.append(observation)
        if terminated or truncated:
            observation, info = env.reset()
            runs.append(Run([observation], reset_info=info))
    return runs


@pytest.mark.parametrize("mode", MODES)
def test_same_as_plain_loops(mode: str, tmp_path: Path) -> None:
    transport = FakeTransport()
    envs = record(make_vector(mode), "counting", transport=transport, spool_dir=tmp_path)
    taken = drive(envs, mode, 60)
    envs.close()
    runs = recorded_runs(transport.events)
    for slot in range(SLOTS):
        mine = [run for run in runs if run.start is not None and run.start.slot == slot]
        plain = plain_runs(slot, taken[slot])
        assert len(plain) - len(mine) in (0, 1)  # under next-step the last reset may not have been made yet
        assert mine[0].seed == 5 + slot
        for recorded, other in zip(mine, plain, strict=False):
            assert_same(recorded, other)
            assert recorded.end is not None
            assert recorded.end.aborted == (
                not (other.terminated and (other.terminated[-1] or other.truncated[-1]))
            )
            assert recorded.end.has_final
    assert Counter(run.end.reason for run in runs if run.end is not None)["reset"] == 0
    assert not list(tmp_path.glob("*/*"))


def test_flat_vector_takes_the_short_way_and_is_the_same(tmp_path: Path) -> None:
    transport = FakeTransport()
    envs = record(
        gymnasium.make_vec("CartPole-v1", 4, vectorization_mode="sync"),
        "cartpole",
        transport=transport,
        spool_dir=tmp_path,
    )
    rng = np.random.default_rng(1)
    taken: list[list[Any]] = [[] for _ in range(4)]
    resetting = np.zeros(4, bool)
    envs.reset(seed=7)
    for _ in range(400):
        actions = rng.integers(0, 2, 4)
        _, _, terminated, truncated, _ = envs.step(actions)
        for free in np.flatnonzero(~resetting).tolist():
            taken[free].append(actions[free])
        resetting = terminated | truncated
    envs.close()
    runs = recorded_runs(transport.events)
    for slot in range(4):
        env = gymnasium.make("CartPole-v1")
        observation, _ = env.reset(seed=7 + slot)
        mine = iter([run for run in runs if run.start is not None and run.start.slot == slot])
        run, at = next(mine), 0
        for action in taken[slot]:
            np.testing.assert_array_equal(run.observations[at], observation)
            assert run.actions[at] == action
            observation, reward, terminated, truncated, _ = env.step(action)
            assert (run.rewards[at], run.terminated[at], run.truncated[at]) == (reward, terminated, truncated)
            at += 1
            if terminated or truncated:
                np.testing.assert_array_equal(run.observations[at], observation)
                observation, _ = env.reset()
                run, at = next(mine, Run()), 0


def test_a_partial_reset_aborts_only_its_slots(tmp_path: Path) -> None:
    transport = FakeTransport()
    envs = record(make_vector("disabled"), "counting", transport=transport, spool_dir=tmp_path)
    envs.reset(seed=1)
    envs.step(np.ones(SLOTS, int))
    envs.reset(options={"reset_mask": np.array([False, True, False])})
    envs.step(np.ones(SLOTS, int))
    envs.close()
    runs = recorded_runs(transport.events)
    by_slot = {
        slot: [run for run in runs if run.start is not None and run.start.slot == slot]
        for slot in range(SLOTS)
    }
    assert [len(by_slot[slot]) for slot in range(SLOTS)] == [1, 2, 1]
    aborted, after = by_slot[1]
    assert aborted.end is not None
    assert (aborted.end.aborted, aborted.end.reason, len(aborted.actions)) == (True, "reset", 1)
    assert aborted.observations[-1]["x"].tolist() == [1.0, 1.0]
    assert after.observations[0]["n"] == 2
    assert [o["x"][1] for o in by_slot[0][0].observations] == [0.0, 1.0, 2.0]
