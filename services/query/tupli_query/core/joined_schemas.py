"""Datasets over episodes that differ in their extra facts alone.

`env.extra(...)` in some episodes only gives two step schemas, and so two step tables. Observations and
actions are the same arrays, so that the episodes are one dataset: each page of it is of one schema, and says
which of the dataset's extra facts its rows have. A fact that some episodes lack is absent there; one that has
two types is refused.

Episodes keep the order of the dataset, so that those that alternate are a page each, of some 20 ms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tupli_query.core.schemas_of import SchemaGroup, mixed_schemas, same_nodes
from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.keys import leaf_key
from tupli_schemas.paths import escape_key
from tupli_schemas.steps import Leaf, StepSchema
from tupli_schemas.structures import Structure


@dataclass(frozen=True)
class DatasetSchema:
    """The step schema that an answer is of, and the ones that its episodes have, the largest first."""

    schema: StepSchema
    groups: tuple[SchemaGroup, ...]

    @property
    def episodes(self) -> int:
        """Episodes of all of them."""
        return sum(group.episodes for group in self.groups)

    @property
    def tuples(self) -> int:
        """Transitions of all of them."""
        return sum(group.tuples for group in self.groups)

    @property
    def is_joined(self) -> bool:
        """Whether there are several."""
        return len(self.groups) > 1

    def of_nothing(self) -> "DatasetSchema":
        """The same of no episodes."""
        return replace(self, groups=tuple(replace(group, episodes=0, tuples=0) for group in self.groups))

    def group_of(self, text: str) -> SchemaGroup | None:
        """The one that a step schema of the store belongs to."""
        return self._by_text.get(text)

    def others(self, group: SchemaGroup) -> tuple[StepSchema, ...]:
        """The schemas of the other episodes."""
        return tuple(one.schema for one in self.groups if one is not group)

    def extra_columns(self, group: SchemaGroup) -> list[int | None]:
        """For every extra fact of the answer the number of the group's own column; None where it has none."""
        own = {leaf.path: index for index, leaf in enumerate(group.schema.extra)}
        return [own.get(leaf.path) for leaf in self.schema.extra]

    def facts_of(self, group: SchemaGroup) -> list[str]:
        """The names of the group's extra facts."""
        if group.schema.extra_structure is None:
            return [leaf.path.removeprefix(".") for leaf in group.schema.extra]
        return [name for name, _ in _facts(self.groups, group)]

    @cached_property
    def _by_text(self) -> Mapping[str, SchemaGroup]:
        return {text: group for group in self.groups for text in group.texts}


def has_facts(schema: StepSchema) -> bool:
    """Whether a step schema has extra facts; an empty tuple or dict is one without leaves."""
    return bool(schema.extra) or schema.extra_structure is not None


def joined(groups: Sequence[SchemaGroup], *, with_extra: bool) -> DatasetSchema:
    """The dataset of groups that differ in their extra facts alone.

    Raises:
        Refused: Extra facts are wanted, and one of them has two types.
    """
    base = replace(groups[0].schema, extra=(), extra_structure=None)
    if not with_extra or len(groups) == 1:
        return DatasetSchema(groups[0].schema if len(groups) == 1 else base, tuple(groups))
    having = [group for group in groups if has_facts(group.schema)]
    if all(group.schema.extra_structure is None for group in having):
        leaves, structure = _leaves(groups, having), None
    else:
        structure = _structure(groups, having)
        leaves = _leaves_of(groups, structure)
    return DatasetSchema(replace(base, extra=leaves, extra_structure=structure), tuple(groups))


def _leaves(groups: Sequence[SchemaGroup], having: Sequence[SchemaGroup]) -> tuple[Leaf, ...]:
    """Leaves of writers that gave no structure."""
    found: dict[str, Leaf] = {}
    for group in having:
        for leaf in group.schema.extra:
            if found.setdefault(leaf.path, leaf) != leaf:
                raise mixed_schemas(groups, _two_types(leaf.path))
    return tuple(found[path] for path in sorted(found))


def _structure(groups: Sequence[SchemaGroup], having: Sequence[SchemaGroup]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for group in having:
        for name, node in _facts(groups, group):
            if same_nodes(found.setdefault(name, node)) != same_nodes(node):
                raise mixed_schemas(groups, _two_types(escape_key(name)))
    return {"kind": "dict", "items": [[name, found[name]] for name in sorted(found)]}


def _facts(groups: Sequence[SchemaGroup], group: SchemaGroup) -> list[tuple[str, Any]]:
    structure = group.schema.extra_structure
    try:
        return [(str(name), node) for name, node in structure["items"]]
    except (TypeError, KeyError, ValueError):
        raise mixed_schemas(groups, "extra facts without a structure cannot be put beside others") from None


def _leaves_of(groups: Sequence[SchemaGroup], structure: dict[str, Any]) -> tuple[Leaf, ...]:
    try:
        return Structure.from_json(structure).leaves()
    except SchemaMismatch:
        raise mixed_schemas(groups, "the structure of their extra facts cannot be read") from None


def _two_types(path: str) -> str:
    return f"{leaf_key('extra', path)} has two types, so leave out the column `extra` or"
