"""An environment that says exactly what it was given to say, and a space that nobody knows."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np


class Scripted(gym.Env[Any, Any]):
    """Returns `observations` one after the other; the last one ends the episode by termination.

    Args:
        space: Of observations and of actions.
        observations: Of an episode: one of the reset and one a step.
        rewards: One a step; 1.0 when left out.
        infos: One of the reset and one a step; empty when left out.
    """

    metadata: dict[str, Any] = {}  # noqa: RUF012 -- as Gymnasium declares it

    def __init__(
        self,
        space: gym.Space[Any],
        observations: Sequence[Any],
        rewards: Sequence[Any] | None = None,
        infos: Sequence[Any] | None = None,
    ) -> None:
        self.observation_space = space
        self.action_space = space
        self._observations = observations
        self._rewards = rewards
        self._infos = infos
        self._at = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self._at = 0
        return self._observations[0], self._info()

    def step(self, action: Any) -> Any:
        reward = 1.0 if self._rewards is None else self._rewards[self._at]
        self._at += 1
        ended = self._at == len(self._observations) - 1
        return self._observations[self._at], reward, ended, False, self._info()

    def _info(self) -> Any:
        return {} if self._infos is None else self._infos[self._at]


class PhaseSpace(gym.Space[Any]):
    """Complex numbers: a space of somebody's own."""

    def __init__(self) -> None:
        super().__init__((3,), np.complex64)

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        return np.zeros(3, np.complex64)

    def contains(self, x: Any) -> bool:
        return True

    @property
    def is_np_flattenable(self) -> bool:
        return False
