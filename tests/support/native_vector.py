"""A vector environment of its own kind, as ALE's is, and the single environment that each slot of it is."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from support.environments import ImageEnv


class Countdown(ImageEnv):
    """Images; infos of two numbers, in the reset as well."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, _ = super().reset(seed=seed, options=options)
        return observation, self._info()

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, _ = super().step(action)
        return observation, reward, terminated, truncated, self._info()

    def _info(self) -> dict[str, Any]:
        return {"frame": np.int32(self._t), "level": np.full(2, self._t, np.float32)}


class Arcade(gym.vector.VectorEnv[Any, Any, Any]):
    """Steps all slots at once; infos are plain arrays without masks.

    Under same-step autoreset a step that ends an episode has `final_obs`, one array of all slots, whose rows mean
    something where one ended; there is no `final_info`: the slot's infos are of the next episode's reset.

    Args:
        slots: How many environments.
        mode: Of autoreset: `next_step`, `same_step` or `disabled`.
        also: What every step's infos hold beside.
    """

    def __init__(self, slots: int, mode: str, also: Mapping[str, Any] | None = None) -> None:
        self.num_envs = slots
        self._mode = mode
        self.metadata = {"autoreset_mode": gym.vector.AutoresetMode[mode.upper()]}
        self._envs = [Countdown() for _ in range(slots)]
        self._also = dict(also or {})
        self.single_observation_space = Countdown.observation_space
        self.single_action_space = Countdown.action_space
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, slots)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, slots)
        self._seen: list[tuple[Any, dict[str, Any]]] = []
        self._ended = np.zeros(slots, bool)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        mask = (options or {}).pop("reset_mask", np.ones(self.num_envs, bool))
        self._seen = [
            env.reset(seed=None if seed is None else seed + slot) if mask[slot] else self._seen[slot]
            for slot, env in enumerate(self._envs)
        ]
        self._ended &= ~mask
        return self._observations(), self._infos()

    def step(self, actions: Any) -> Any:
        outcomes = [self._step(slot, int(action)) for slot, action in enumerate(actions)]
        final = self._observations()
        rewards, terminated, truncated = (np.array(part) for part in zip(*outcomes, strict=True))
        self._ended = terminated | truncated
        if self._mode == "same_step":
            for slot in np.flatnonzero(self._ended).tolist():
                self._seen[slot] = self._envs[slot].reset()
        infos = self._infos()
        if self._mode == "same_step" and self._ended.any():
            infos["final_obs"] = final
        return self._observations(), rewards, terminated, truncated, infos

    def _step(self, slot: int, action: int) -> tuple[float, bool, bool]:
        if self._ended[slot] and self._mode == "next_step":
            self._seen[slot] = self._envs[slot].reset()
            return 0.0, False, False
        assert self._mode == "same_step" or not self._ended[slot]
        observation, reward, terminated, truncated, info = self._envs[slot].step(action)
        self._seen[slot] = observation, info
        return reward, terminated, truncated

    def _observations(self) -> Any:
        return np.stack([observation for observation, _ in self._seen])

    def _infos(self) -> dict[str, Any]:
        names = self._seen[0][1]
        return {name: np.stack([info[name] for _, info in self._seen]) for name in names} | self._also


def make_arcade(num_envs: int, **_: Any) -> Arcade:
    """What `gymnasium.make_vec` calls."""
    return Arcade(num_envs, "same_step")
