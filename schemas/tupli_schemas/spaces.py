"""Structures from what is at hand: a value, a space's JSON with a sample, two values of one run.

The dtype and shape of a leaf are those of the values that came, not of the declared space; the space says
where a value may have another shape each time (Sequence, Graph, OneOf, unknown), and the order of a dict's
keys.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.steps import MAX_CELL_BYTES, MAX_LEAVES, StepSchema
from tupli_schemas.structures import (
    ARRAY_KINDS,
    ArrayLeaf,
    DictNode,
    Graph,
    GraphLeaf,
    Structure,
    TextLeaf,
    TupleNode,
    ValueLeaf,
    check_leaves,
)

__all__ = [
    "Graph",
    "Structure",
    "group_structure",
    "join_structures",
    "step_schema_of",
    "structure_of_space",
    "structure_of_value",
    "structure_of_values",
]

_VARYING: Final = ("Sequence", "OneOf", "unknown")
_MAX_DEPTH: Final = 32


def structure_of_value(value: Any) -> Structure:
    """The structure of a value without a space. Never raises: what has no columns is a `value` leaf."""
    return _bounded(_of_value(value, 0))


def structure_of_space(space: Any, sample: Any) -> Structure:
    """The structure of a sample that a space (its JSON, or None) declares."""
    return _bounded(_of_space(space, sample, 0))


def structure_of_values(space: Any, *samples: Any) -> Structure:
    """The structure that holds all samples (of a first reset and a first step): their common type."""
    first, *others = (structure_of_space(space, sample) for sample in samples)
    for other in others:
        first = join_structures(first, other)
    return first


def join_structures(one: Structure, other: Structure) -> Structure:
    """A structure that holds the values of both; a `value` leaf where they have nothing in common."""
    if one == other:
        return one
    if isinstance(one, ArrayLeaf) and isinstance(other, ArrayLeaf):
        return _join_arrays(one, other)
    if isinstance(one, DictNode) and isinstance(other, DictNode) and one.items.keys() == other.items.keys():
        return DictNode({key: join_structures(node, other.items[key]) for key, node in one.items.items()})
    if isinstance(one, TupleNode) and isinstance(other, TupleNode) and len(one.items) == len(other.items):
        pairs = zip(one.items, other.items, strict=True)
        return TupleNode(tuple(join_structures(a, b) for a, b in pairs), is_list=one.is_list)
    return ValueLeaf()


def step_schema_of(
    observation: Structure,
    action: Structure,
    extra: Mapping[str, Structure] | None = None,
    *,
    observation_space_json: Any = None,
    action_space_json: Any = None,
    reward_dtype: str = "float64",
) -> StepSchema:
    """The step schema of these structures.

    Raises:
        SchemaMismatch: They have too many leaves together.
    """
    extras = DictNode(extra or {})
    schema = StepSchema(
        observation=observation.leaves(),
        action=action.leaves(),
        extra=extras.leaves(),
        observation_structure=observation.to_json(),
        action_structure=action.to_json(),
        extra_structure=extras.to_json() if extra else None,
        observation_space=observation_space_json,
        action_space=action_space_json,
        reward_dtype=reward_dtype,
    )
    schema.layout  # noqa: B018 -- checks the number of columns
    return schema


def group_structure(schema: StepSchema, group: str, *, graph: Callable[..., Any] = Graph) -> Structure:
    """The structure of a schema's `observation`, `action` or `extra`, checked against its leaves.

    Raises:
        SchemaMismatch: The schema's structure has other leaves than the schema.
    """
    data = getattr(schema, f"{group}_structure")
    structure = DictNode({}) if data is None else Structure.from_json(data, graph=graph)
    if structure.leaves() != schema.leaves(group):
        raise SchemaMismatch("the structure does not have the schema's leaves", place=f"step_schema.{group}")
    return structure


def _of_value(value: Any, depth: int) -> Structure:
    if isinstance(value, str):
        return TextLeaf()
    if type(value) in (bool, int, float):
        return _of_numbers(value)
    if isinstance(value, np.ndarray | np.generic) and not isinstance(value, np.ma.MaskedArray):
        return _of_array(np.asarray(value), "scalar" if isinstance(value, np.generic) else "ndarray")
    return ValueLeaf() if depth > _MAX_DEPTH else _of_container(value, depth)


def _of_container(value: Any, depth: int) -> Structure:
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return DictNode({key: _of_value(item, depth + 1) for key, item in value.items()})
    if type(value) is tuple and len(value) <= MAX_LEAVES:
        return TupleNode(tuple(_of_value(item, depth + 1) for item in value))
    if type(value) is list:
        return _of_list(value, depth)
    return ValueLeaf()


def _of_list(value: list[Any], depth: int) -> Structure:
    """Python numbers in a rectangle are one array.

    Other lists have a node for each item, but an empty one.
    """
    numbers = _of_numbers(value)
    if isinstance(numbers, ArrayLeaf) or not 0 < len(value) <= MAX_LEAVES:
        return numbers
    return TupleNode(tuple(_of_value(item, depth + 1) for item in value), is_list=True)


def _of_numbers(value: Any) -> Structure:
    """An array leaf for Python numbers of one type that an array gives back as they were."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError, RuntimeError):
        return ValueLeaf()
    if array.dtype.str not in ("|b1", "<i8", "<f8") or array.size == 0 or not _same(array.tolist(), value):
        return ValueLeaf()
    return _of_array(array, "python")


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if type(one) is list:
        return len(one) == len(other) and all(map(_same, one, other))
    return True


def _of_array(array: np.ndarray[Any, Any], box: str) -> Structure:
    if array.dtype.kind not in ARRAY_KINDS or array.dtype.hasobject or array.nbytes > MAX_CELL_BYTES:
        return ValueLeaf()
    return ArrayLeaf(array.dtype, array.shape, box)


def _of_space(space: Any, sample: Any, depth: int) -> Structure:
    kind = space.get("type") if isinstance(space, dict) else None
    if kind in _VARYING or depth > _MAX_DEPTH:
        return ValueLeaf()
    if kind == "Graph" and isinstance(sample, tuple) and len(sample) == 3:
        return GraphLeaf()
    if kind == "Dict" and isinstance(sample, Mapping):
        inner = {key: item for key, item in space["spaces"] if type(key) is str}
        if inner.keys() == sample.keys():
            return DictNode({k: _of_space(item, sample[k], depth + 1) for k, item in inner.items()})
    if kind == "Tuple" and isinstance(sample, tuple | list) and len(sample) == len(space["spaces"]):
        pairs = zip(space["spaces"], sample, strict=True)
        nodes = tuple(_of_space(item, value, depth + 1) for item, value in pairs)
        return TupleNode(nodes, is_list=isinstance(sample, list))
    return _of_value(sample, depth)


def _join_arrays(one: ArrayLeaf, other: ArrayLeaf) -> Structure:
    if one.shape != other.shape:
        return ValueLeaf()
    try:
        dtype = np.result_type(one.dtype, other.dtype)
    except TypeError:
        return ValueLeaf()
    box = one.box if one.box == other.box else "ndarray"
    return ArrayLeaf(dtype, one.shape, box) if dtype.kind in ARRAY_KINDS else ValueLeaf()


def _bounded(structure: Structure) -> Structure:
    try:
        return check_leaves(structure)
    except SchemaMismatch:
        return ValueLeaf()
