"""What the step schemas of a recording could not hold, so that the next one can.

A step schema is made of an episode's first values. Where a later one had another type, the next schema
takes both: numbers in their common type, an extra fact that is not always given as NaN or, where it is no
float, as any value.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tupli_schemas.spaces import join_structures, structure_of_space, structure_of_value
from tupli_schemas.structures import ArrayLeaf, DictNode, Structure, ValueLeaf


class Misfits:
    """The types that did not fit: of the observation, of the action, and of each extra fact."""

    def __init__(self) -> None:
        self._groups: dict[str, Structure] = {}
        self._extras: dict[str, Structure] = {}

    def note(self, group: str, structure: Structure, space: Any, sample: Any) -> None:
        """Remember a sample that the structure of this group could not hold."""
        self._groups[group] = _joined(self.widened(group, structure), structure_of_space(space, sample))

    def widened(self, group: str, structure: Structure) -> Structure:
        """The structure, widened to what did not fit before; another shape does not widen it."""
        seen = self._groups.get(group)
        return structure if seen is None else _joined(structure, seen)

    def note_extra(self, structure: Structure, sample: Mapping[str, Any]) -> None:
        """Remember extra facts that a structure could not hold."""
        known = structure.items if isinstance(structure, DictNode) else {}
        for name in known.keys() - sample.keys():
            self._extras[name] = ValueLeaf()
        for name, value in sample.items():
            found = structure_of_value(value)
            before = self._extras.get(name, known.get(name, found))
            self._extras[name] = join_structures(before, found)

    def extras(self, sample: Mapping[str, Any]) -> dict[str, Structure]:
        """The structures of the extra facts of a first step, and of those that did not fit before."""
        out: dict[str, Structure] = {}
        for name in sorted(self._extras.keys() | sample.keys()):
            seen = self._extras.get(name)
            if name in sample:
                found = structure_of_value(sample[name])
                out[name] = found if seen is None else join_structures(found, seen)
            elif seen is not None:
                out[name] = seen if _is_float(seen) else ValueLeaf()
        return out


def fill_extra(structure: Structure, given: dict[str, Any], slots: int | None = None) -> None:
    """Add the extra facts that were not given: NaN, or None where any value goes; one a slot of a vector."""
    if not isinstance(structure, DictNode):
        return
    for name in structure.items.keys() - given.keys():
        node = structure.items[name]
        if isinstance(node, ArrayLeaf) and _is_float(node):
            shape = node.shape if slots is None else (slots, *node.shape)
            given[name] = np.full(shape, np.nan, node.dtype)
        elif isinstance(node, ValueLeaf):
            given[name] = None if slots is None else [None] * slots


def _is_float(structure: Structure) -> bool:
    return isinstance(structure, ArrayLeaf) and structure.dtype.kind == "f"


def _joined(one: Structure, other: Structure) -> Structure:
    """Both in one, unless that takes the columns of numbers away."""
    joined = join_structures(one, other)
    return joined if _count_opaque(joined) <= _count_opaque(one) else one


def _count_opaque(structure: Structure) -> int:
    return sum(leaf.cell.is_opaque for leaf in structure.leaves())
