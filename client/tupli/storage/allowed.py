"""What a benchmark's spaces allow of the values of static data: kinds, dtypes and shapes, no ranges. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tupli.errors import InvalidInput
from tupli_schemas.casts import exact_cast
from tupli_schemas.errors import ContractError, SchemaMismatch
from tupli_schemas.paths import quoted_key
from tupli_schemas.spaces import Structure
from tupli_schemas.structures import ArrayLeaf, DictNode, TextLeaf, TupleNode, ValueLeaf
from tupli_schemas.values import from_tagged

_CONTAINERS: Final[dict[str, type[Structure]]] = {"Dict": DictNode, "Tuple": TupleNode}
_UNTYPED: Final = (bool, int, float, list, tuple)


def typed(space: Any) -> Callable[[Any], Any]:
    """What gives a value the dtypes of a space (its JSON) where it has none of its own: Python's numbers and lists.

    A space of floats rounds them to its precision, another one takes what it holds exactly. A list of NumPy's numbers
    has their dtype, and is taken where that casts safely. Everything else stays as it is, for `allow` to judge.
    """
    kind = space.get("type") if isinstance(space, Mapping) else None
    if (inner := _inner(kind, space)) is not None:
        return _typed_members(str(kind), {name: typed(item) for name, item in inner.items()})
    if (wanted := _declared(kind, space)) is not None:
        dtype, shape = wanted
        return lambda value: _typed_number(value, dtype, shape) if type(value) in _UNTYPED else value
    return lambda value: value


def _typed_members(kind: str, inner: dict[Any, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Of Dict and Tuple; a dict's members in the space's order, as a recording has them."""

    def members(value: Any) -> Any:
        if kind == "Dict" and type(value) is dict and value.keys() == inner.keys():
            return {name: make(value[name]) for name, make in inner.items()}
        if kind == "Tuple" and type(value) in (tuple, list) and len(value) == len(inner):
            return type(value)(make(member) for make, member in zip(inner.values(), value, strict=True))
        return value

    return members


def _typed_number(value: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError, RuntimeError):  # lists of different lengths
        return value
    plain = _is_plain(value)
    if array.shape != shape or (array.dtype == dtype and plain and type(value) is not tuple):
        return value
    cast = _cast(array, dtype) if plain or np.can_cast(array.dtype, dtype) else None
    if cast is None:
        return value
    return cast if type(value) in (list, tuple) else cast[()]


def _cast(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any] | None:
    """The array in the dtype; None where more than the precision of floats would be lost."""
    if array.dtype.kind in "biuf" and dtype.kind == "f":
        with np.errstate(over="ignore"):
            out = array.astype(dtype)
        return out if np.array_equal(np.isfinite(out), np.isfinite(array)) else None
    try:
        return exact_cast(array, dtype)
    except SchemaMismatch:
        return None


def _is_plain(value: Any) -> bool:
    """Whether Python's numbers are all that is in it."""
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    return type(value) in _UNTYPED


def allow(space: Any, structure: Structure, place: str) -> None:
    """Compare a structure with the JSON of a space; what cannot be read or may hold anything allows all.

    Raises:
        InvalidInput: At a leaf of another kind, dtype or shape.
    """
    kind = space.get("type") if isinstance(space, Mapping) else None
    if (inner := _inner(kind, space)) is not None:
        node = structure.items if isinstance(structure, DictNode | TupleNode) else ()
        parts = dict(node.items() if isinstance(node, Mapping) else enumerate(node))
        if not isinstance(structure, _CONTAINERS[str(kind)]) or parts.keys() != inner.keys():
            told = f"the benchmark's space is a {kind} of {list(inner)}, not {str(structure.to_json())[:500]}"
            raise InvalidInput(told, place=place)
        for name, part in parts.items():
            member = f".{quoted_key(str(name))}" if kind == "Dict" else f"[{name}]"
            allow(inner[name], part, f"{place}{member}")
    elif (wanted := _declared(kind, space)) is not None and not _holds(kind, wanted, structure):
        found = "no array of one dtype and shape"
        if isinstance(structure, ArrayLeaf):
            found = f"{structure.dtype}{list(structure.shape)}"
        raise InvalidInput(
            f"{found}, where the benchmark's {kind} has {wanted[0]}{list(wanted[1])}", place=place
        )


def declared_structure(space: Any) -> Structure | None:
    """The structure that a space (its JSON) declares, where nobody has seen a value; None where it says nothing of it.

    Values that have no one dtype and shape (Sequence, Graph, OneOf) are objects, as in a recording.
    """
    kind = space.get("type") if isinstance(space, Mapping) else None
    if kind is None:
        return None
    if (inner := _inner(kind, space)) is not None:
        nodes = {name: declared_structure(item) or ValueLeaf() for name, item in inner.items()}
        return DictNode(nodes) if kind == "Dict" else TupleNode(tuple(nodes.values()))
    if (wanted := _declared(kind, space)) is None:
        return TextLeaf() if kind == "Text" else ValueLeaf()
    try:
        return ArrayLeaf(*wanted)
    except (SchemaMismatch, TypeError):
        return None


def _inner(kind: Any, space: Any) -> dict[Any, Any] | None:
    """The spaces inside one that has a structure of its own; None of others."""
    try:
        inner = dict(space["spaces"] if kind == "Dict" else enumerate(space["spaces"]))
    except (KeyError, TypeError, ValueError):
        return None
    return inner if kind == "Tuple" or (kind == "Dict" and all(type(name) is str for name in inner)) else None


def _declared(kind: Any, space: Any) -> tuple[np.dtype[Any], tuple[int, ...]] | None:
    """Dtype and shape of a space of numbers; None for others."""
    try:
        if kind == "Box":
            return np.dtype(space["dtype"]), tuple(space["shape"])
        if kind == "Discrete":
            return np.dtype(space.get("dtype", "<i8")), ()
        if kind == "MultiDiscrete":
            return np.dtype(space["dtype"]), np.shape(from_tagged(space["nvec"]))
        if kind == "MultiBinary":
            return np.dtype(np.int8), tuple(space["shape"])
    except (KeyError, TypeError, ValueError, AttributeError, ContractError):
        return None
    return None


def _holds(kind: Any, wanted: tuple[np.dtype[Any], tuple[int, ...]], structure: Structure) -> bool:
    """Whether values of the structure are allowed: as Gymnasium's `contains` judges, but for ranges."""
    dtype, shape = wanted
    if not isinstance(structure, ArrayLeaf) or structure.shape != shape:
        return False
    if kind != "Box":
        return structure.dtype.kind in ("iub" if dtype.kind in "iub" else "iubf")
    return bool(np.can_cast(structure.dtype, dtype))
