"""What users and environments give, taken so that it stays what it was."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def copied(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A deep copy: who gave them may change them afterwards. What cannot be copied is kept as it is."""
    if not values:
        return None if values is None else {}
    try:
        return copy.deepcopy(dict(values))
    except Exception:  # noqa: BLE001 - what a user's object refuses with must not reach the run
        return dict(values)


def as_rewards(values: Any) -> npt.NDArray[Any]:
    """Rewards as an array of numbers, each as `float` takes it.

    Raises:
        TypeError, ValueError: One is none: NumPy would take None for NaN.
    """
    rewards = np.asarray(values)
    if rewards.dtype.kind in "biuf":
        return rewards
    numbers = [float(value) for value in rewards.reshape(-1).tolist()]
    return np.array(numbers).reshape(rewards.shape)
