"""Deterministic environments of every kind of observation, and the plain loops that collect the same runs.

Each environment's stream of observations depends on its seed and on the actions that it was given, so that a shifted,
lost or doubled step cannot go unseen. Works with Gymnasium 1.0.0 to 1.x.
"""

import abc
import copy
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from support.loop_oracle import Run


class Counting(gym.Env[Any, Any]):
    """Base: episodes of `7 + seed % 5` steps; observations made by `_observe(rng, t, last action)`."""

    def __init__(self, length: int = 7, truncate: bool = False) -> None:  # noqa: FBT001, FBT002 -- as gym.make passes it
        self._length = length
        self._truncate = truncate
        self._t = 0
        self._episode = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._t = 0
        self._episode += 1
        self._steps = self._length + int(self.np_random.integers(0, 5))
        return self._observe(None), {"episode_number": self._episode, "reset": True}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._t += 1
        done = self._t >= self._steps
        reward = float(self.np_random.standard_normal())
        info = {
            "t": self._t,
            "success": done,
            "note": f"step {self._t}",
            "TimeLimit.truncated": bool(done and self._truncate),
        }
        return self._observe(action), reward, done and not self._truncate, done and self._truncate, info

    @abc.abstractmethod
    def _observe(self, action: Any) -> Any:
        """The observation after `action`; after a reset, None."""


class DictEnv(Counting):
    """Nested Dict observations of several dtypes, a text among them."""

    observation_space = gym.spaces.Dict(
        {
            "position": gym.spaces.Box(-10, 10, (3,), np.float64),
            "camera": gym.spaces.Dict({"gray": gym.spaces.Box(0, 255, (4, 5), np.uint8)}),
            "mode": gym.spaces.Discrete(4),
            "word": gym.spaces.Text(8),
        }
    )
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def _observe(self, action: Any) -> Any:
        shift = 0.0 if action is None else float(np.sum(action))
        return {
            "position": self.np_random.standard_normal(3) + shift,
            "camera": {"gray": self.np_random.integers(0, 255, (4, 5)).astype(np.uint8)},
            "mode": np.int64(self._t % 4),
            "word": "abcdefgh"[: self._t % 8],
        }


class ImageEnv(Counting):
    """uint8 images and a discrete action."""

    observation_space = gym.spaces.Box(0, 255, (12, 10, 3), np.uint8)
    action_space = gym.spaces.Discrete(5)

    def _observe(self, action: Any) -> Any:
        image = self.np_random.integers(0, 256, (12, 10, 3)).astype(np.uint8)
        image[0, 0, 0] = 0 if action is None else int(action)
        return image


class TruncatingImageEnv(ImageEnv):
    """As `ImageEnv`, and every episode is truncated."""

    def __init__(self) -> None:
        super().__init__(truncate=True)


IDS = {
    "cartpole": "CartPole-v1",
    "pendulum": "Pendulum-v1",
    "dict": "TupliTestDict-v0",
    "image": "TupliTestImage-v0",
}


def register() -> None:
    """Register the environments of this module, once."""
    for name, kind in (
        ("TupliTestDict-v0", DictEnv),
        ("TupliTestImage-v0", ImageEnv),
        ("TupliTestTruncating-v0", TruncatingImageEnv),
    ):
        if name not in gym.registry:
            gym.register(name, entry_point=f"{kind.__module__}:{kind.__qualname__}", disable_env_checker=True)


def make(kind: str) -> gym.Env[Any, Any]:
    """The environment of a kind (a key of `IDS`), with episodes short enough to see many of them."""
    register()
    limits = {"pendulum": 17, "cartpole": 19}
    return gym.make(IDS[kind], disable_env_checker=True, max_episode_steps=limits.get(kind))


def modes() -> list[str]:
    """The autoreset modes of the installed Gymnasium; 1.0 has no choice and behaves as `next_step`."""
    known = getattr(gym.vector, "AutoresetMode", None)
    return ["next_step"] if known is None else [mode.name.lower() for mode in known]


def make_vector(kind: str, slots: int, mode: str) -> gym.vector.SyncVectorEnv:
    """A vector of `make(kind)` with this autoreset mode."""
    known = getattr(gym.vector, "AutoresetMode", None)
    chosen = {} if known is None else {"autoreset_mode": known[mode.upper()]}
    return gym.vector.SyncVectorEnv([partial(make, kind)] * slots, **chosen)


def play(env: gym.Env[Any, Any], steps: int, seed: int) -> list[Any]:
    """An ordinary loop of `steps` steps that resets after each end; the actions it took."""
    env.action_space.seed(seed)
    env.reset(seed=seed)
    taken, done = [], False
    for _ in range(steps):
        if done:
            env.reset()
        action = env.action_space.sample()
        taken.append(copy.deepcopy(action))
        _, _, terminated, truncated, _ = env.step(action)
        if isinstance(action, np.ndarray):
            action[...] = 0  # an agent that works in place
        done = terminated or truncated
    return taken


def play_vector(envs: Any, steps: int, seed: int, mode: str) -> list[list[Any]]:
    """The same with a vector; the actions that each slot's environment took (a next-step reset ignores one)."""
    envs.action_space.seed(seed)
    envs.reset(seed=seed)
    taken: list[list[Any]] = [[] for _ in range(envs.num_envs)]
    resetting = np.zeros(envs.num_envs, bool)
    for _ in range(steps):
        actions = envs.action_space.sample()
        for slot in np.flatnonzero(~resetting).tolist():
            taken[slot].append(actions[slot].copy())
        _, _, terminated, truncated, _ = envs.step(actions)
        actions[...] = 0
        ended = terminated | truncated
        if mode == "disabled" and ended.any():
            envs.reset(options={"reset_mask": ended})
        resetting = ended if mode == "next_step" else np.zeros(envs.num_envs, bool)
    return taken


def plain_runs(env: gym.Env[Any, Any], actions: list[Any], seed: int) -> list[Run]:
    """What a plain loop over these actions collects, episode by episode, without any of ours."""
    runs: list[Run] = []
    done = True
    start: int | None = seed
    for action in actions:
        if done:
            observation, info = env.reset(seed=start)
            runs.append(Run([copy.deepcopy(observation)], reset_info=copy.deepcopy(info), seed=start))
            start = None
        observation, reward, terminated, truncated, info = env.step(copy.deepcopy(action))
        runs[-1].actions.append(action)
        runs[-1].rewards.append(float(reward))
        runs[-1].terminated.append(bool(terminated))
        runs[-1].truncated.append(bool(truncated))
        runs[-1].infos.append(copy.deepcopy(info))
        runs[-1].observations.append(copy.deepcopy(observation))
        done = terminated or truncated
    return runs


def assert_same(ours: Any, theirs: Any, where: str = "value") -> None:
    """Equal to the bit: type of container, dtype, shape, values, NaN where NaN was."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict), where
        assert ours.keys() == theirs.keys(), where
        for key in theirs:
            assert_same(ours[key], theirs[key], f"{where}[{key!r}]")
    elif isinstance(theirs, tuple):
        assert isinstance(ours, tuple), where
        assert len(ours) == len(theirs), where
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(mine, other, f"{where}[{index}]")
    elif isinstance(theirs, np.ndarray | np.generic):
        a: npt.NDArray[Any] = np.asarray(ours)
        b: npt.NDArray[Any] = np.asarray(theirs)
        assert a.dtype == b.dtype, f"{where}: {a.dtype} is not {b.dtype}"
        assert a.shape == b.shape, f"{where}: {a.shape} is not {b.shape}"
        assert a.tobytes() == b.tobytes(), where
    else:
        assert ours == theirs, f"{where}: {ours!r} is not {theirs!r}"
