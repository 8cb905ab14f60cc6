"""Gymnasium's spaces as JSON, and back; the structure of values in them.

    {"type": "Box", "dtype": "<f4", "shape": [17], "low": ..., "high": ...}   bounds: one number for all, or an array
    {"type": "Discrete", "n": 5, "start": -2, "dtype": "<i8"}
    {"type": "MultiDiscrete", "nvec": ..., "start": ..., "dtype": "<i8"}       {"type": "MultiBinary", "shape": [3]}
    {"type": "Text", "min_length": 1, "max_length": 9, "characters": "abc"}
    {"type": "Dict", "spaces": [[key, space], ...]}   {"type": "Tuple", "spaces": [...]}   {"type": "OneOf", ...}
    {"type": "Sequence", "space": ..., "stack": false}   {"type": "Graph", "node_space": ..., "edge_space": ...}
    {"type": "unknown", "class": "module.Name"}

Numbers are tagged values (`tupli_schemas.values`), so that bounds come back bit for bit. The JSON holds no random
state and does not depend on the process that made it. A subclass is described as what it is derived from.
"""

import inspect
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from gymnasium import Space, spaces

from tupli_schemas.errors import SchemaMismatch, ValueCodecError
from tupli_schemas.spaces import Structure, structure_of_values
from tupli_schemas.values import from_tagged, to_tagged

_HAS_DISCRETE_DTYPE: Final = "dtype" in inspect.signature(spaces.Discrete.__init__).parameters


def space_to_json(space: Any) -> Any:
    """The JSON of a space; None for None."""
    if space is None:
        return None
    for kind, describe in _DESCRIBE.items():
        if isinstance(space, kind):
            return {"type": kind.__name__, **describe(space)}
    return {"type": "unknown", "class": f"{type(space).__module__}.{type(space).__qualname__}"}


def space_from_json(data: Any) -> Space[Any] | None:
    """The space of its JSON; None for None and for a space of an unknown class, also when one is nested.

    Raises:
        SchemaMismatch: The JSON is no space.
    """
    if data is None:
        return None
    try:
        return _MAKE[data["type"]](data)
    except _Unknown:
        return None
    except SchemaMismatch:
        raise
    except (KeyError, TypeError, ValueError, AssertionError, OverflowError, RecursionError) as error:
        raise SchemaMismatch(f"not a space ({error!r})") from error


def structure_in_space(space: Any, *samples: Any) -> Structure:
    """The structure that holds these values of a space (or of None): their common type."""
    return structure_of_values(space_to_json(space), *samples, graph=spaces.GraphInstance)


def structure_from_json(data: Any) -> Structure:
    """The structure of its JSON, whose graphs are Gymnasium's.

    Raises:
        SchemaMismatch: The JSON is none.
    """
    return Structure.from_json(data, graph=spaces.GraphInstance)


class _Unknown(Exception):
    """The JSON names a class that cannot be made from data; never leaves this module."""


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


def _inner(data: Any) -> Space[Any]:
    """A nested space.

    Raises:
        _Unknown: It, or one in it, cannot be made from data.
    """
    if data["type"] not in _MAKE:
        raise SchemaMismatch(f"unknown type of space {data['type']!r}")
    return _MAKE[data["type"]](data)


def _value(tagged: Any) -> Any:
    try:
        return from_tagged(tagged)
    except ValueCodecError as error:
        raise SchemaMismatch(error.reason) from error


def _make_box(data: Any) -> Space[Any]:
    dtype, shape = np.dtype(data["dtype"]), tuple(data["shape"])
    low, high = (np.broadcast_to(np.asarray(_value(data[side]), dtype), shape) for side in ("low", "high"))
    return spaces.Box(low.copy(), high.copy(), shape, dtype.type)


def _make_discrete(data: Any) -> Space[Any]:
    options: dict[str, Any] = {"dtype": np.dtype(data["dtype"]).type} if _HAS_DISCRETE_DTYPE else {}
    return spaces.Discrete(data["n"], start=data["start"], **options)


def _make_multi_discrete(data: Any) -> Space[Any]:
    dtype = np.dtype(data["dtype"]).type
    return spaces.MultiDiscrete(_value(data["nvec"]), dtype=dtype, start=_value(data["start"]))


def _make_text(data: Any) -> Space[Any]:
    charset = _value(data["characters"])
    return spaces.Text(data["max_length"], min_length=data["min_length"], charset=charset)


def _make_graph(data: Any) -> Space[Any]:
    edges = data["edge_space"]
    return spaces.Graph(_inner(data["node_space"]), None if edges is None else _inner(edges))


def _make_unknown(data: Any) -> Space[Any]:
    raise _Unknown(data.get("class"))


_MAKE: Final[dict[str, Callable[[Any], Space[Any]]]] = {
    "Box": _make_box,
    "Discrete": _make_discrete,
    "MultiDiscrete": _make_multi_discrete,
    "MultiBinary": lambda data: spaces.MultiBinary(data["n"]),
    "Text": _make_text,
    "Dict": lambda data: spaces.Dict({_value(key): _inner(item) for key, item in data["spaces"]}),
    "Tuple": lambda data: spaces.Tuple([_inner(item) for item in data["spaces"]]),
    "OneOf": lambda data: spaces.OneOf([_inner(item) for item in data["spaces"]]),
    "Sequence": lambda data: spaces.Sequence(_inner(data["space"]), stack=data["stack"]),
    "Graph": _make_graph,
    "unknown": _make_unknown,
}
