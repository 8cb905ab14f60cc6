"""Batched observations, actions and infos of vector environments, and the values of their slots.

Gymnasium batches Box, Discrete, MultiDiscrete and MultiBinary into arrays with one row a slot, Dict and
Tuple into dicts and tuples of batches, and everything else into tuples with one value a slot. Info values
of a slot count only where their mask (`_key`) is true.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tupli_schemas.casts import exact_cast
from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.structures import ArrayLeaf, DictNode, Structure, TupleNode, plain_array

FINAL_KEYS: Final = frozenset(("final_obs", "final_observation", "final_info"))
_PLAIN: Final = (np.bool_, np.int64, np.float64)
"""What vector environments make of Python's bool, int and float."""


def slot_value(space: Any, batch: Any, slot: int) -> Any:
    """One slot's value of a batch of a space (its JSON, or None)."""
    kind = space.get("type") if isinstance(space, dict) else None
    if kind == "Dict" and isinstance(batch, Mapping):
        return {key: slot_value(inner, batch[key], slot) for key, inner in space["spaces"]}
    if kind == "Tuple" and isinstance(batch, tuple | list) and len(batch) == len(space["spaces"]):
        pairs = zip(space["spaces"], batch, strict=True)
        return tuple(slot_value(inner, part, slot) for inner, part in pairs)
    return batch[slot]


def first_slot(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The extra facts of the first slot."""
    return {
        name: value[0] if isinstance(value, list | np.ndarray) else np.asarray(value)[0]
        for name, value in batch.items()
    }


def seeds_of(seed: Any, slots: int) -> list[Any]:
    """The seed of each slot, as Gymnasium gives them."""
    if seed is None:
        return [None] * slots
    if isinstance(seed, int | np.integer):
        return [int(seed) + i for i in range(slots)]
    return list(seed)


def batch_leaves(structure: Structure, batch: Any, slots: int, place: str = "") -> list[Any]:
    """One entry a leaf: an array of shape `(slots, *shape)`, or a list of bytes.

    Raises:
        SchemaMismatch: The batch does not fit, or not without a loss.
    """
    if isinstance(structure, ArrayLeaf) and not structure.cell.is_opaque:
        array = plain_array(batch, place)
        if array.shape != (slots, *structure.shape):
            raise SchemaMismatch(
                f"shape {list(array.shape)} where {[slots, *structure.shape]} belongs", place=place
            )
        return [array if array.dtype == structure.dtype else exact_cast(array, structure.dtype, place)]
    if isinstance(structure, DictNode) and isinstance(batch, Mapping):
        if batch.keys() != structure.items.keys():
            raise SchemaMismatch(
                f"members {sorted(batch)} where {sorted(structure.items)} belong", place=place
            )
        pairs = [(node, batch[key], f"{place}.{key}") for key, node in structure.items.items()]
    elif isinstance(structure, TupleNode) and isinstance(batch, tuple | list):
        if len(batch) != len(structure.items):
            raise SchemaMismatch(f"{len(batch)} parts where {len(structure.items)} belong", place=place)
        pairs = [
            (node, part, f"{place}[{i}]")
            for i, (node, part) in enumerate(zip(structure.items, batch, strict=True))
        ]
    else:
        rows = [structure.flatten(batch[slot]) for slot in range(slots)]
        return [list(column) for column in zip(*rows, strict=True)]
    return [leaf for node, part, where in pairs for leaf in batch_leaves(node, part, slots, where)]


def cast_as_batched(structure: Structure, value: Any) -> Any:
    """One slot's value with the dtypes that its batch has: Gymnasium casts within a kind (`numpy.can_cast`)."""
    if isinstance(structure, ArrayLeaf) and isinstance(value, np.ndarray | np.generic | float | list | tuple):
        try:
            array = plain_array(value, "")
        except SchemaMismatch:  # masked, or of no one shape
            return value
        if not np.can_cast(array.dtype, structure.dtype, "same_kind"):
            return value
        with np.errstate(all="ignore"):
            return array.astype(structure.dtype, copy=False)
    if (
        isinstance(structure, DictNode)
        and isinstance(value, Mapping)
        and value.keys() >= structure.items.keys()  # batching leaves out members that the space has not
    ):
        return {key: cast_as_batched(node, value[key]) for key, node in structure.items.items()}
    if (
        isinstance(structure, TupleNode)
        and isinstance(value, tuple | list)
        and len(value) == len(structure.items)
    ):
        return tuple(map(cast_as_batched, structure.items, value))
    return value


def slot_info(
    infos: Mapping[Any, Any], slot: int, slots: int, *, without: frozenset[str] = FINAL_KEYS
) -> dict[Any, Any]:
    """What the infos of a step say of one of `slots` slots: its part, and what is said of all of them together."""
    out: dict[Any, Any] = {}
    masks = {
        f"_{key}": _mask(infos, key) for key in infos
    }  # keys need not be strings; the names of masks are
    for key, value in infos.items():
        if key in without or masks.get(key) is not None:
            continue
        mask = masks[f"_{key}"]
        if mask is not None and not mask[slot]:
            continue
        if isinstance(value, Mapping):
            out[key] = slot_info(value, slot, slots, without=frozenset())
        elif mask is not None or _has_slots(value, slots):
            out[key] = _item(value[slot])
        else:
            out[key] = value
    return out


def final_observation(infos: Mapping[str, Any], slot: int, space: Any) -> Any:
    """The observation that a slot's episode ended on, under same-step autoreset; None when it is not given."""
    for key in ("final_obs", "final_observation"):
        if key in infos:
            mask = _mask(infos, key)
            if mask is not None and not mask[slot]:
                return None
            found = infos[key]
            if isinstance(found, np.ndarray) and found.dtype == object:
                return found[slot]
            return slot_value(space, found, slot)
    return None


def final_info(infos: Mapping[Any, Any], slot: int, slots: int) -> dict[Any, Any]:
    """The info of the step that ended a slot's episode, under same-step autoreset.

    It is in `final_info`, and lost where the environment gives none: what stands beside it is of the next
    reset, but for `episode` (of RecordEpisodeStatistics).
    """
    inner = infos.get("final_info")
    out: dict[Any, Any]
    if inner is None:
        out = {}
    elif isinstance(inner, Mapping):
        out = slot_info(inner, slot, slots, without=frozenset())
    else:
        out = dict(inner[slot] or {})
    beside = slot_info({key: infos[key] for key in ("episode", "_episode") if key in infos}, slot, slots)
    return out | {key: value for key, value in beside.items() if key not in out}


def _mask(infos: Mapping[Any, Any], key: Any) -> npt.NDArray[np.bool_] | None:
    """Which slots have said something of this key; None where nobody says, and it is of all."""
    mask = infos.get(f"_{key}")
    if isinstance(mask, list | tuple) and mask and all(isinstance(one, bool | np.bool_) for one in mask):
        mask = np.asarray(mask)
    return mask if isinstance(mask, np.ndarray) and mask.dtype == bool else None


def _has_slots(value: Any, slots: int) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0 and len(value) == slots
    return isinstance(value, list | tuple) and len(value) == slots


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, _PLAIN) else value


def as_flags(values: Any, slots: int) -> npt.NDArray[np.bool_]:
    """Flags of a step, shape `(slots,)`.

    Raises:
        SchemaMismatch: Another shape.
    """
    flags = np.asarray(values, bool)
    if flags.shape != (slots,):
        raise SchemaMismatch(f"flags of shape {list(flags.shape)} for {slots} slots")
    return flags
