"""Observations are copied as they lie in memory, whatever their order there, and the short way is kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import pytest

from support.loop_oracle import recorded_runs
from tupli.recording import record
from tupli.recording.single import SingleStream
from tupli.recording.vector import VectorStream
from tupli.transport import FakeTransport

STEPS = 30
LARGE, SMALL = (7, 60, 3), (2, 3)

Lay = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


def read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    values = values.copy()
    values.setflags(write=False)
    return values


LAYS: dict[str, Lay] = {
    "plain": np.ascontiguousarray,
    "by columns": np.asfortranarray,
    "backwards": lambda values: values[::-1].copy()[::-1],
    "every second": lambda values: np.repeat(values, 2, axis=-1)[..., ::2],
    "moved axes": lambda values: np.moveaxis(np.moveaxis(values, -1, 0).copy(), 0, -1),
    "read only": read_only,
}


class Laid(gymnasium.Env[Any, Any]):
    """Shows arrays that lie in memory as they are laid."""

    def __init__(self, shape: tuple[int, ...], dtype: str, lay: Lay) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 1, shape, np.dtype(dtype).type)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.rng, self.dtype, self.lay = np.random.default_rng(0), np.dtype(dtype), lay
        self.shown: list[npt.NDArray[Any]] = []

    def show(self, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        values = self.rng.integers(0, 2, shape).astype(self.dtype)
        self.shown.append(values)
        return self.lay(values)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        return self.show(self.observation_space.shape or ()), {}

    def step(self, action: Any) -> Any:
        return self.show(self.observation_space.shape or ()), 1.0, False, False, {}


class LaidVector(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """The same of three slots."""

    def __init__(self, one: Laid) -> None:
        self.num_envs, self.one = 3, one
        self.metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}
        self.single_observation_space = one.observation_space
        self.single_action_space = one.action_space

    def show(self) -> npt.NDArray[Any]:
        return self.one.show((self.num_envs, *(self.one.observation_space.shape or ())))

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        return self.show(), {}

    def step(self, actions: Any) -> Any:
        none = np.zeros(self.num_envs, bool)
        return self.show(), np.ones(self.num_envs), none, none.copy(), {}


def counted(monkeypatch: pytest.MonkeyPatch, kind: type[Any]) -> list[int]:
    """One entry for each step that takes the long way."""
    long_ways: list[int] = []
    take = kind.take

    def counting(self: Any, result: Any) -> None:
        long_ways.append(1)
        take(self, result)

    monkeypatch.setattr(kind, "take", counting)
    return long_ways


@pytest.mark.parametrize("lay", LAYS.values(), ids=LAYS.keys())
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "bool", "int64"])
@pytest.mark.parametrize("shape", [LARGE, SMALL], ids=["large", "small"])
def test_single(
    shape: tuple[int, ...], dtype: str, lay: Lay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ways = counted(monkeypatch, SingleStream)
    one, transport = Laid(shape, dtype, lay), FakeTransport()
    with record(one, "laid", transport=transport, spool_dir=tmp_path) as env:
        env.reset()
        for _ in range(STEPS):
            env.step(1)
    (run,) = recorded_runs(transport.events)
    np.testing.assert_array_equal(run.observations, one.shown, strict=True)
    assert len(long_ways) < STEPS / 2


@pytest.mark.parametrize("lay", LAYS.values(), ids=LAYS.keys())
@pytest.mark.parametrize("dtype", ["uint8", "float64", "bool"])
@pytest.mark.parametrize("shape", [(90, 70, 3), SMALL], ids=["large", "small"])
def test_vector(
    shape: tuple[int, ...], dtype: str, lay: Lay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ways = counted(monkeypatch, VectorStream)
    one, transport = Laid(shape, dtype, lay), FakeTransport()
    with record(LaidVector(one), "laid", transport=transport, spool_dir=tmp_path) as envs:
        envs.reset()
        for _ in range(STEPS):
            envs.step(np.ones(3, np.int64))
    runs = sorted(recorded_runs(transport.events), key=lambda run: run.start.slot if run.start else -1)
    assert len(runs) == 3
    for slot, run in enumerate(runs):
        np.testing.assert_array_equal(run.observations, [block[slot] for block in one.shown], strict=True)
    assert len(long_ways) < STEPS / 2
