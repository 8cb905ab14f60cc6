"""What can be said of an environment as data: id, arguments, wrappers, spaces, class. Never code, never a pickle.

The description does not depend on random state, so that its hash is the environment's.
"""

import importlib.metadata
import platform
from functools import cache
from typing import Any, Final

import gymnasium
import numpy as np

from tupli._spaces import space_to_json
from tupli_schemas.values import to_tagged

_NORMALISING: Final = ("NormalizeObservation", "NormalizeReward")


def describe(env: Any) -> dict[str, Any]:
    """The descriptor of an environment, single or vector (then of one of its slots)."""
    base = env.unwrapped
    spec = getattr(env, "spec", None)
    kind = type(base)
    return {
        "environment": getattr(spec, "id", None) or f"{kind.__module__}:{kind.__qualname__}",
        "registered": spec is not None,
        "version": getattr(spec, "version", None),
        "kwargs": to_tagged(dict(getattr(spec, "kwargs", None) or {})),
        "max_episode_steps": getattr(spec, "max_episode_steps", None),
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "distribution": _distribution_of(kind.__module__),
        "wrappers": wrappers_of(env),
        "observation_space": declared_space(env, "observation_space"),
        "action_space": declared_space(env, "action_space"),
    }


def declared_space(env: Any, name: str) -> Any:
    """The JSON of a declared space (of one slot), or None when there is none."""
    space = getattr(env, f"single_{name}", None)
    if space is None:
        space = getattr(env, name, None)
    return space_to_json(space) if isinstance(space, gymnasium.Space) else None


def wrappers_of(env: Any) -> list[str]:
    """The classes of the wrappers, from the outside in."""
    names = []
    while isinstance(env, gymnasium.Wrapper | gymnasium.vector.VectorWrapper):
        names.append(f"{type(env).__module__}:{type(env).__qualname__}")
        env = env.env
    return names


def normalising(wrappers: list[str]) -> list[str]:
    """The wrappers whose output depends on what came before: recorded values cannot be compared between runs."""
    return [name for name in wrappers if name.rpartition(":")[2] in _NORMALISING]


def versions_of(env: Any | None) -> dict[str, str]:
    """The versions of what takes part."""
    found = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
        "tupli": _version_of("tupli"),
    }
    if env is not None:
        name = _distribution_of(type(env.unwrapped).__module__)
        if name:
            found[name] = _version_of(name)
    return found


@cache
def _version_of(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


@cache
def _distribution_of(module: str) -> str:
    names = importlib.metadata.packages_distributions().get(module.partition(".")[0], [])
    return names[0] if names else ""
