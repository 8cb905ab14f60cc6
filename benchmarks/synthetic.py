"""The environments that are measured. Needs only Gymnasium and NumPy: the peers' environments import it too."""

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

EPISODE = 1_000
Observation = npt.NDArray[Any]


class Synthetic(gym.Env[Observation, Observation]):
    """17 + 6 float32, episodes of 1,000 steps, as cheap as an environment can be."""

    def __init__(self, info_keys: int = 0, episode: int = EPISODE) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (17,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (6,), np.float32)
        rng = np.random.default_rng(0)
        self._observations = rng.standard_normal((1024, 17), np.float32)
        self._info_keys = [f"key_{i}" for i in range(info_keys)]
        self._episode = episode
        self._t = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        self._t = 0
        return self._observations[0], {}

    def step(self, action: Observation) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self._t = t = self._t + 1
        info = dict.fromkeys(self._info_keys, t * 0.5) if self._info_keys else {}
        return self._observations[t & 1023], 1.0, False, t >= self._episode, info


class Frames(gym.Env[Observation, np.int64]):
    """uint8 frames with structure (a moving square on noise of few levels), as games have it."""

    def __init__(
        self, height: int = 210, width: int = 160, channels: int = 3, episode: int = EPISODE
    ) -> None:
        shape = (height, width, channels) if channels > 1 else (height, width)
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)
        self.action_space = gym.spaces.Discrete(6)
        rng = np.random.default_rng(0)
        self._frames = np.repeat(
            np.repeat(rng.integers(0, 255, (16, *shape), np.uint8)[:, ::6, ::6], 6, 1), 6, 2
        )
        self._frames = np.ascontiguousarray(self._frames[:, :height, :width])
        self._episode = episode
        self._t = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        self._t = 0
        return self._frames[0], {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self._t = t = self._t + 1
        return self._frames[t & 15], 0.0, False, t >= self._episode, {}


ACTION = np.zeros(6, np.float32)
