"""Vectors of every kind and mode of autoreset: the same transitions as a plain loop over each slot's environment."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from support.environments import make, plain_runs, play_vector
from support.loop_oracle import Run, assert_equal, assert_same, recorded_runs
from support.native_vector import Arcade, Countdown, make_arcade
from tupli.errors import InvalidInput
from tupli.recording import record
from tupli.transport import FakeTransport

SEED = 3
MODES = ["next_step", "same_step", "disabled"]


def recorded(envs: Any, folder: Path, play: Callable[[Any], Any], **options: Any) -> tuple[list[Run], Any]:
    """The episodes of what `play` does with the recorded vector, and what it returned."""
    transport = FakeTransport()
    with record(envs, "any", transport=transport, spool_dir=folder, **options) as wrapped:
        answer = play(wrapped)
    return recorded_runs(transport.events), answer


def of_slot(runs: list[Run], slot: int) -> list[Run]:
    return [run for run in runs if run.start is not None and run.start.slot == slot]


def check(mine: list[Run], plain: list[Run], *, infos: bool = True) -> None:
    """A slot's episodes are those of its plain loop; the last one was closed on the way."""
    assert len(mine) - len(plain) in (0, 1)  # an episode that has only begun has no step in the plain loop
    assert len(plain) > 2
    for one, other in zip(mine, plain, strict=False):
        assert_same(one, other, infos=infos)
        assert one.end is not None
        assert one.end.has_final
        assert one.end.aborted == (not (other.terminated[-1] or other.truncated[-1]))
        assert one.end.return_ == pytest.approx(sum(other.rewards))


def async_vector(kind: str, slots: int, mode: str, *, copy: bool) -> Any:
    fns = [partial(make, kind)] * slots
    shared = kind != "dict"  # Gymnasium's shared memory gives texts back padded
    return AsyncVectorEnv(fns, shared_memory=shared, copy=copy, autoreset_mode=AutoresetMode[mode.upper()])


def sync_vector(kind: str, slots: int, mode: str, *, copy: bool) -> Any:
    return SyncVectorEnv([partial(make, kind)] * slots, autoreset_mode=AutoresetMode[mode.upper()], copy=copy)


VECTORS: dict[str, tuple[Any, int, bool]] = {
    "async": (async_vector, 2, True),
    "async, one buffer": (async_vector, 2, False),
    "sync, one buffer": (sync_vector, 3, False),
    "one slot": (sync_vector, 1, True),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["dict", "image"])
@pytest.mark.parametrize("vector", VECTORS)
def test_the_same_as_plain_loops(vector: str, kind: str, mode: str, tmp_path: Path) -> None:
    made, slots, copy = VECTORS[vector]
    envs = made(kind, slots, mode, copy=copy)
    runs, taken = recorded(envs, tmp_path, lambda wrapped: play_vector(wrapped, 60, SEED, mode))
    for slot in range(slots):
        check(of_slot(runs, slot), plain_runs(make(kind), taken[slot], SEED + slot))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("slots", [1, 3])
def test_a_vector_of_its_own_kind(slots: int, mode: str, tmp_path: Path) -> None:
    """As ALE's: infos without masks; under same-step one full array of final observations, and no final infos."""
    runs, taken = recorded(
        Arcade(slots, mode), tmp_path, lambda wrapped: play_vector(wrapped, 60, SEED, mode)
    )
    for slot in range(slots):
        plain = plain_runs(Countdown(), taken[slot], SEED + slot)
        mine = of_slot(runs, slot)
        check(mine, plain, infos=False)
        for one, other in zip(mine, plain, strict=False):
            for number, (info, expected) in enumerate(zip(one.infos, other.infos, strict=True)):
                if mode != "same_step" or number + 1 < len(other.infos):
                    assert_equal(info, expected)


def test_infos_beside_a_final_observation_alone_are_of_the_next_episode(tmp_path: Path) -> None:
    runs, taken = recorded(
        Arcade(2, "same_step"), tmp_path, lambda wrapped: play_vector(wrapped, 60, SEED, "same_step")
    )
    for slot in range(2):
        plain = plain_runs(Countdown(), taken[slot], SEED + slot)
        for one, other in zip(of_slot(runs, slot), plain, strict=False):
            assert_equal(one.reset_info, other.reset_info)
            if one.end is not None and not one.end.aborted:
                assert one.infos[-1] == {}


def test_a_registered_vector_form_says_its_mode(tmp_path: Path) -> None:
    if "TupliTestArcade-v0" not in gym.registry:
        gym.register(
            "TupliTestArcade-v0",
            entry_point=f"{Countdown.__module__}:{Countdown.__qualname__}",
            vector_entry_point=f"{make_arcade.__module__}:{make_arcade.__qualname__}",
        )
    envs = gym.make_vec("TupliTestArcade-v0", num_envs=2)
    assert isinstance(envs.unwrapped, Arcade)
    runs, taken = recorded(envs, tmp_path, lambda wrapped: play_vector(wrapped, 40, SEED, "same_step"))
    for slot in range(2):
        check(of_slot(runs, slot), plain_runs(Countdown(), taken[slot], SEED + slot), infos=False)


def test_a_vector_that_does_not_say_its_mode(tmp_path: Path) -> None:
    envs = Arcade(2, "same_step")
    envs.metadata = {}
    with pytest.raises(InvalidInput, match="autoreset"):
        recorded(envs, tmp_path, lambda wrapped: None)
    runs, taken = recorded(
        envs, tmp_path, lambda wrapped: play_vector(wrapped, 40, SEED, "same_step"), autoreset="same_step"
    )
    check(of_slot(runs, 1), plain_runs(Countdown(), taken[1], SEED + 1), infos=False)


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_the_statistics_of_an_episode_are_of_that_episode(mode: str, tmp_path: Path) -> None:
    envs = gym.wrappers.vector.RecordEpisodeStatistics(sync_vector("cartpole", 2, mode, copy=True))
    runs, _ = recorded(envs, tmp_path, lambda wrapped: play_vector(wrapped, 80, SEED, mode))
    ended = [run for run in runs if run.terminated[-1:] == [True] or run.truncated[-1:] == [True]]
    assert len(ended) > 4
    for run in ended:
        assert run.infos[-1]["episode"]["l"] == len(run.actions)
        assert not any("episode" in info for info in run.infos[:-1])
        assert run.start is not None
        assert "episode" not in run.reset_info


def test_a_slot_that_is_reset_by_hand_under_next_step_takes_its_next_action(tmp_path: Path) -> None:
    """After a reset with a mask the next step is a real one, also of a slot whose episode had just ended."""
    envs = sync_vector("image", 2, "next_step", copy=True)
    taken: list[list[Any]] = [[], []]

    def play(wrapped: Any) -> None:
        wrapped.action_space.seed(SEED)
        wrapped.reset(seed=SEED)
        resetting = np.zeros(2, bool)
        for _ in range(60):
            actions = wrapped.action_space.sample()
            for slot in np.flatnonzero(~resetting).tolist():
                taken[slot].append(actions[slot])
            _, _, terminated, truncated, _ = wrapped.step(actions)
            resetting = terminated | truncated
            if resetting[0]:
                wrapped.reset(options={"reset_mask": np.array([True, False])})
                resetting[0] = False

    runs, _ = recorded(envs, tmp_path, play)
    for slot in range(2):
        check(of_slot(runs, slot), plain_runs(make("image"), taken[slot], SEED + slot))


RESULTS: dict[str, Callable[[Any], Any]] = {
    "float32 rewards": lambda result: (result[0], result[1].astype(np.float32), *result[2:]),
    "integer rewards": lambda result: (result[0], (8 * result[1]).astype(int), *result[2:]),
    "no numbers": lambda result: (result[0], np.where(result[1] > 0, np.nan, np.inf), *result[2:]),
    "lists of rewards": lambda result: (result[0], result[1].tolist(), *result[2:]),
    "a list of observations": lambda result: (list(result[0]), *result[1:]),
    "another order in memory": lambda result: (np.asfortranarray(result[0]), *result[1:]),
    "no infos": lambda result: (*result[:4], {}),
}


@pytest.mark.parametrize("case", RESULTS)
def test_results_of_other_types(case: str, tmp_path: Path) -> None:
    class Other(Arcade):
        def step(self, actions: Any) -> Any:
            result = RESULTS[case](super().step(actions))
            rewards.append(np.asarray(result[1], np.float64))
            return result

    rewards: list[Any] = []
    runs, taken = recorded(
        Other(1, "disabled"), tmp_path, lambda wrapped: play_vector(wrapped, 40, SEED, "disabled")
    )
    plain = plain_runs(Countdown(), taken[0], SEED)
    for one, other in zip(runs, plain, strict=True):
        if case == "no infos":
            other.infos = [{}] * len(other.infos)
        np.testing.assert_array_equal(one.rewards, [rewards.pop(0)[0] for _ in other.rewards])
        one.rewards = other.rewards
        assert_same(one, other)


class Wordy(Countdown):
    """Long texts and infos, so that many segments are needed."""

    observation_space: Any = gym.spaces.Dict(
        {
            "text": gym.spaces.Text(40_000),
            "n": gym.spaces.Discrete(100),
            "seq": gym.spaces.Sequence(gym.spaces.Discrete(9)),
        }
    )

    def _observe(self, action: Any) -> Any:
        size = int(self.np_random.integers(0, 40_000))
        return {
            "text": f"{action}," * (size // 4),
            "n": np.int64(self._t),
            "seq": (np.int64(self._t),) * (size // 4_000),
        }

    def _info(self) -> dict[str, Any]:
        return {"note": "x" * int(self.np_random.integers(0, 60_000)), "t": self._t} if self._t % 4 else {}


@pytest.mark.parametrize("mode", MODES)
def test_many_segments(mode: str, tmp_path: Path) -> None:
    """What has no room goes on in the next segment, with what belongs to the same step."""
    envs = SyncVectorEnv([Wordy] * 2, autoreset_mode=AutoresetMode[mode.upper()])
    segments: list[str] = []

    def play(wrapped: Any) -> Any:
        taken = play_vector(wrapped, 120, SEED, mode)
        segments.append(wrapped._stream.writer.segment.path.name)
        return taken

    runs, taken = recorded(envs, tmp_path, play)
    assert int(segments[0].partition(".")[0]) > 3
    for slot in range(2):
        check(of_slot(runs, slot), plain_runs(Wordy(), taken[slot], SEED + slot))


@pytest.mark.parametrize("mode", MODES)
def test_recording_that_is_switched_on_again_begins_at_a_reset(mode: str, tmp_path: Path) -> None:
    envs = sync_vector("image", 2, mode, copy=True)
    seen: list[list[Any]] = [[], []]
    """The first observations of each slot's episodes."""

    def play(wrapped: Any) -> None:
        wrapped.action_space.seed(SEED)
        observations, _ = wrapped.reset(seed=SEED)
        begun, resetting = np.ones(2, bool), np.zeros(2, bool)
        for step in range(90):
            for slot in np.flatnonzero(begun).tolist():
                seen[slot].append(observations[slot].copy())
            observations, _, terminated, truncated, _ = wrapped.step(wrapped.action_space.sample())
            ended = terminated | truncated
            begun, resetting = (resetting, ended) if mode == "next_step" else (ended, resetting)
            if mode == "disabled" and ended.any():
                observations, _ = wrapped.reset(options={"reset_mask": ended})
            if ended.any() and step % 2:
                wrapped.deactivate_recording()
            elif step % 5 == 0:
                wrapped.activate_recording()

    runs, _ = recorded(envs, tmp_path, play)
    assert len(runs) > 4
    for slot in range(2):
        firsts = [observation.tobytes() for observation in seen[slot]]
        for run in of_slot(runs, slot):
            assert run.observations[0].tobytes() in firsts


class Odd(Countdown):
    """Gives infos with unusual keys."""

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, _ = super().step(action)
        info = {
            "$d": self._t,
            "a.b": float(self._t),
            "text": f"é{self._t}",
            "deep": {"n": self._t, "more": {"flag": bool(self._t % 2)}},
            "none": None,
            "list": [self._t, "x"],
            "bytes": b"\x00",
            "": self._t,
        }
        return observation, reward, terminated, truncated, info if self._t % 3 else {}


@pytest.mark.parametrize("mode", MODES)
def test_infos_with_unusual_keys(mode: str, tmp_path: Path) -> None:
    envs = SyncVectorEnv([Odd, Odd], autoreset_mode=AutoresetMode[mode.upper()])
    runs, taken = recorded(envs, tmp_path, lambda wrapped: play_vector(wrapped, 60, SEED, mode))
    for slot in range(2):
        check(of_slot(runs, slot), plain_runs(Odd(), taken[slot], SEED + slot))


class Numbered(Countdown):
    """Its infos have keys that are no strings."""

    def step(self, action: Any) -> Any:
        *result, _ = super().step(action)
        return *result, {1: self._t, (2, "x"): 0.5}


@pytest.mark.parametrize("mode", MODES)
def test_infos_whose_keys_are_no_strings(mode: str, tmp_path: Path) -> None:
    envs = SyncVectorEnv([Numbered, Numbered], autoreset_mode=AutoresetMode[mode.upper()])
    runs, taken = recorded(envs, tmp_path, lambda wrapped: play_vector(wrapped, 60, SEED, mode))
    for slot in range(2):
        check(of_slot(runs, slot), plain_runs(Numbered(), taken[slot], SEED + slot))


WHOLE = {"clock": np.float64(0.5), "count": np.array(7), "text": "all of it", "n": 3, "short": np.arange(1)}
"""What a vector says of itself, not of each slot."""


def test_infos_that_are_not_of_a_slot_are_of_each(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs, taken = recorded(
            Arcade(2, "next_step", also=WHOLE),
            tmp_path,
            lambda wrapped: play_vector(wrapped, 60, SEED, "next_step"),
        )
    for slot in range(2):
        plain = plain_runs(Countdown(), taken[slot], SEED + slot)
        for run in plain:
            run.infos = [info | WHOLE for info in run.infos]
            run.reset_info |= WHOLE
        check(of_slot(runs, slot), plain)
