"""Gymnasium's spaces as JSON.

    {"type": "Box", "dtype": "<f4", "shape": [17], "low": ..., "high": ...}   bounds: one number for all, or an array
    {"type": "Discrete", "n": 5, "start": -2, "dtype": "<i8"}
    {"type": "MultiDiscrete", "nvec": ..., "start": ..., "dtype": "<i8"}       {"type": "MultiBinary", "shape": [3]}
    {"type": "Text", "min_length": 1, "max_length": 9, "characters": "abc"}
    {"type": "Dict", "spaces": [[key, space], ...]}   {"type": "Tuple", "spaces": [...]}   {"type": "OneOf", ...}
    {"type": "Sequence", "space": ..., "stack": false}   {"type": "Graph", "node_space": ..., "edge_space": ...}
    {"type": "unknown", "class": "module.Name"}

Numbers are tagged values (`tupli_schemas.values`), so that bounds are kept bit for bit. The JSON holds no random
state and does not depend on the process that made it. A subclass is described as what it is derived from.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from tupli_schemas.values import to_tagged


def space_to_json(space: Any) -> Any:
    """The JSON of a space; None for None."""
    if space is None:
        return None
    for kind, describe in _DESCRIBE.items():
        if isinstance(space, kind):
            return {"type": kind.__name__, **describe(space)}
    return {"type": "unknown", "class": f"{type(space).__module__}.{type(space).__qualname__}"}


def _describe_box(space: spaces.Box) -> dict[str, Any]:
    return {
        "dtype": np.dtype(space.dtype).str,
        "shape": list(space.shape),
        "low": _bounds(space.low),
        "high": _bounds(space.high),
    }


def _bounds(array: npt.NDArray[Any]) -> Any:
    """The array; one number when all its elements have the same bits."""
    if array.size and np.all(array.reshape(-1).view(np.void) == array.reshape(-1)[:1].view(np.void)):
        return to_tagged(array.reshape(-1)[0])
    return to_tagged(array)


def _describe_discrete(space: spaces.Discrete) -> dict[str, Any]:
    return {"n": int(space.n), "start": int(space.start), "dtype": np.dtype(space.dtype).str}


def _describe_multi_discrete(space: spaces.MultiDiscrete) -> dict[str, Any]:
    return {
        "nvec": to_tagged(np.asarray(space.nvec)),
        "start": to_tagged(np.asarray(space.start)),
        "dtype": np.dtype(space.dtype).str,
    }


def _describe_text(space: spaces.Text) -> dict[str, Any]:
    return {
        "min_length": int(space.min_length),
        "max_length": int(space.max_length),
        "characters": to_tagged("".join(sorted(space.character_set))),
    }


def _describe_dict(space: spaces.Dict) -> dict[str, Any]:
    return {"spaces": [[to_tagged(key), space_to_json(item)] for key, item in space.spaces.items()]}


def _describe_graph(space: spaces.Graph) -> dict[str, Any]:
    return {"node_space": space_to_json(space.node_space), "edge_space": space_to_json(space.edge_space)}


def _describe_sequence(space: spaces.Sequence) -> dict[str, Any]:
    return {"space": space_to_json(space.feature_space), "stack": bool(space.stack)}


def _describe_items(space: Any) -> dict[str, Any]:
    return {"spaces": [space_to_json(item) for item in space.spaces]}


_DESCRIBE: Final[dict[type[Any], Callable[[Any], dict[str, Any]]]] = {
    spaces.Box: _describe_box,
    spaces.Discrete: _describe_discrete,
    spaces.MultiDiscrete: _describe_multi_discrete,
    spaces.MultiBinary: lambda space: {"shape": list(space.shape), "n": _number_or_list(space.n)},
    spaces.Text: _describe_text,
    spaces.Dict: _describe_dict,
    spaces.Tuple: _describe_items,
    spaces.OneOf: _describe_items,
    spaces.Sequence: _describe_sequence,
    spaces.Graph: _describe_graph,
}


def _number_or_list(value: Any) -> Any:
    return [int(n) for n in value] if isinstance(value, tuple | list | np.ndarray) else int(value)
