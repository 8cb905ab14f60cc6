"""One step whose reward, flags, info or observation are not as ever: it is kept, or it costs its own episode alone."""

import enum
import math
import threading
import warnings
from collections import OrderedDict, UserDict
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from support.loop_oracle import Run, recorded_runs
from support.sameness import same
from support.scripted import Scripted
from support.telling import telling
from tupli.errors import TupliWarning
from tupli.recording import record
from tupli.transport import FakeTransport
from tupli_schemas.values import Repr


class Saying(gym.Env[Any, Any]):
    """Three observations an episode; the second step of the second episode returns what `answer` makes of it."""

    def __init__(self, observations: list[Any], answer: Callable[[Any], Any]) -> None:
        self.observation_space = self.action_space = gym.spaces.Discrete(2)
        self._observations, self._answer = observations, answer
        self._episode = self._at = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self._episode, self._at = self._episode + 1, 0
        return self._observations[0], {}

    def step(self, action: Any) -> Any:
        self._at += 1
        observation = self._observations[min(self._at, 2)]
        if (self._episode, self._at) == (2, 2):
            return self._answer(observation)
        return observation, 1.0, self._at == 2, False, {}


ACTION = np.zeros(2, np.float32)
OBSERVATIONS: dict[str, list[Any]] = {
    "vectors": [np.full(2, i, np.float32) for i in range(3)],
    "images": [np.full((2, 2), i, np.uint8) for i in range(3)],
    "dicts": [{"a": float(i)} for i in range(3)],
}


def runs_with(folder: Path, observations: str, answer: Callable[[Any], Any]) -> list[Run]:
    """Three episodes of two steps of a `Saying`."""
    transport = FakeTransport()
    env = Saying(OBSERVATIONS[observations], answer)
    with record(env, "any", transport=transport, spool_dir=folder / observations) as wrapped:
        for _ in range(3):
            wrapped.reset()
            wrapped.step(ACTION)
            wrapped.step(ACTION)
    return recorded_runs(transport.events)


def one_step(folder: Path, **said: Any) -> list[Run]:
    """The same for each way that a step may take, which all leave the same."""

    def answer(observation: Any) -> Any:
        parts = {"reward": 0.5, "terminated": True, "truncated": False, "info": {}} | said
        return observation, *(parts[name] for name in ("reward", "terminated", "truncated", "info"))

    first, *others = (runs_with(folder, kind, answer) for kind in OBSERVATIONS)
    for other in others:
        for one, two in zip(first, other, strict=True):
            assert same(one.rewards, two.rewards)
            assert (one.terminated, one.truncated) == (two.terminated, two.truncated)
            assert same(one.infos, two.infos)
            assert len(one.observations) == len(two.observations)
    return first


REWARDS = [
    np.float32(0.1), np.float16(0.1), np.float64(-0.0), np.array(0.1), np.array(0.1, np.float32), 1, 2**53, True,
    np.True_, np.int8(-3), np.uint64(2**64 - 1), math.nan, math.inf, -math.inf, np.float32(np.nan), Fraction(1, 3),
    Decimal("0.1"), "1.0",
]  # fmt: skip


@pytest.mark.parametrize("reward", REWARDS, ids=lambda reward: f"{type(reward).__name__} {reward}")
def test_a_reward_of_any_type_is_its_float(reward: Any, tmp_path: Path) -> None:
    runs = one_step(tmp_path, reward=reward)
    assert [len(run.rewards) for run in runs] == [2, 2, 2]
    assert np.float64(runs[1].rewards[1]).tobytes() == np.float64(float(reward)).tobytes()
    assert runs[1].end is not None
    total = 1.0 + float(reward)
    assert runs[1].end.return_ == (total if math.isfinite(total) else None)


@pytest.mark.parametrize(
    "reward", [None, 1j, [1.0, 2.0], 10**400, object()], ids=lambda reward: type(reward).__name__
)
def test_a_reward_that_is_no_number_aborts_its_episode_alone(reward: Any, tmp_path: Path) -> None:
    with pytest.warns(TupliWarning, match="aborted"):
        runs = one_step(tmp_path, reward=reward)
    assert [len(run.rewards) for run in runs] == [2, 1, 2]
    assert [run.end.aborted for run in runs if run.end is not None] == [False, True, False]


@pytest.mark.parametrize("flag", [True, 1, np.True_, np.array(True), np.int8(1), 1.0], ids=repr)
@pytest.mark.parametrize("which", ["terminated", "truncated"])
def test_flags_of_any_type(which: str, flag: Any, tmp_path: Path) -> None:
    said = {"terminated": False, "truncated": False} | {which: flag}
    runs = one_step(tmp_path, **said)
    assert runs[1].terminated == [False, which == "terminated"]
    assert runs[1].truncated == [False, which == "truncated"]


class Level(enum.IntEnum):
    LOW = 1


class Rude:
    """Raises wherever it is asked something."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        return 7

    def __bool__(self) -> bool:
        raise RuntimeError("no")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("no")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no")


NAN = math.nan
EXACT: dict[str, Any] = {
    "numbers as keys": {1: "a", 2.5: "b", None: "c", False: "d"},
    "a NaN as key": {NAN: 1},
    "tuples as keys": {(1, "a"): {"x": 1}},
    "marks of ours": {"$nd": [1], "$": 2, "$repr": "x", "$d": [[1, 2]]},
    "one mark of ours": {"$f": "nan"},
    "dots": {"a.b": {"c.d": 1}, "a": {"b": 2}, "": 3, ".": 4, "a[0]": 5},
    "texts": {"é": "\U0001f642", "lone": "\ud800", "nul": "\x00", "\ud800": 1},
    "many keys": {f"k{i}": i for i in range(5_000)},
    "a large number": {"n": 2**70, "m": -(2**63), "f": 1e308 * 10},
    "arrays": {
        "o": np.array([1, "a", None], object),
        "s": np.array(["a"]),
        "e": np.zeros((0, 3), np.float16),
    },
    "true and one": {"a": True, "b": 1, "c": 1.0, "d": np.bool_(True), "e": None, "f": {}},
    "7 MB": {"text": "x" * (7 << 20)},
}


@pytest.mark.parametrize("case", EXACT)
def test_infos_come_back_equal(case: str, tmp_path: Path) -> None:
    runs = one_step(tmp_path, info=EXACT[case])
    assert same(runs[1].infos[1], EXACT[case])


def recursive() -> dict[str, Any]:
    info: dict[str, Any] = {"a": 1}
    info["self"] = info
    return info


def deep() -> dict[str, Any]:
    info: dict[str, Any] = {"end": 1}
    for _ in range(20_000):
        info = {"in": info}
    return info | {"a": 1}


LOSSY: dict[str, Any] = {
    "recursive": recursive(),
    "deep": deep(),
    "rude": {"a": 1, "rude": Rude()},
    "an environment": {"a": 1, "env": Scripted(gym.spaces.Discrete(2), [])},
    "a lock": {"a": 1, "lock": threading.Lock()},
    "code": {"a": 1, "f": lambda: 0, "g": (i for i in range(3)), "module": math},
    "others' containers": {"a": 1, "o": OrderedDict(x=1), "u": UserDict(x=1), "e": Level.LOW},
}


@pytest.mark.parametrize("case", LOSSY)
def test_what_cannot_be_kept_costs_neither_the_step_nor_the_rest(case: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TupliWarning)
        runs = one_step(tmp_path, info=LOSSY[case])
    info = runs[1].infos[1]
    assert info["a"] == 1
    assert info.keys() == LOSSY[case].keys()
    assert [len(run.rewards) for run in runs] == [2, 2, 2]


def test_what_is_left_of_an_unknown_value_is_its_text(tmp_path: Path) -> None:
    info = one_step(tmp_path, info={"f": {1: Rude()}, "e": Level.LOW, "c": 1j})[1].infos[1]
    assert type(info["f"][1]) is Repr
    assert (info["e"], info["c"]) == (1, 1j)


@pytest.mark.parametrize("info", [[1, 2], "text", 7, None], ids=str)
def test_an_info_that_is_no_dict_is_kept_as_it_is(info: Any, tmp_path: Path) -> None:
    assert one_step(tmp_path, info=info)[1].infos[1] == ({} if info is None else info)


def test_an_info_that_is_too_large_aborts_its_episode_alone(tmp_path: Path) -> None:
    with pytest.warns(TupliWarning, match="an info of"):
        runs = one_step(tmp_path, info={"text": "x" * (10 << 20)})
    assert [len(run.rewards) for run in runs] == [2, 1, 2]
    assert runs[1].end is not None
    assert "bytes" in runs[1].end.reason


@pytest.mark.parametrize("result", [(), None, (np.zeros(2, np.float32), 1.0, True, {}), 7], ids=repr)
def test_a_step_that_returns_something_else_is_the_agents_business(result: Any, tmp_path: Path) -> None:
    """The agent gets what the environment returned; the episode is aborted, the next one is recorded."""
    for kind in OBSERVATIONS:
        with pytest.warns(TupliWarning, match="aborted"):
            runs = runs_with(tmp_path, kind, lambda _: result)
        assert [len(run.rewards) for run in runs] == [2, 1, 2]


OTHERS: dict[str, Any] = {
    "text": "text",
    "none": None,
    "number": 1.5,
    "shape": np.zeros(3, np.float32),
    "inexact": np.full(2, 0.1),
    "ragged": [[1], [2, 3]],
    "rude": Rude(),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("terminated", [False, True])
def test_an_observation_of_another_kind_costs_at_most_itself(
    other: str,
    terminated: bool,  # noqa: FBT001 -- parametrized
    tmp_path: Path,
) -> None:
    with telling() as told:
        runs = runs_with(tmp_path, "vectors", lambda _: (OTHERS[other], 1.0, terminated, False, {"a": 1}))
    assert [len(run.rewards) for run in runs] == [2, 2, 2]
    assert runs[1].infos[1] == {"a": 1}
    assert runs[1].end is not None
    assert (runs[1].end.has_final, len(runs[1].observations)) == (False, 2)
    expected = "final observation is not recorded" if terminated else "aborted"
    assert any(expected in line for line in told)
    assert runs[1].terminated == [False, terminated]
