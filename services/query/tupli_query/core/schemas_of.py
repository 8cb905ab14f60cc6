"""Which step schema a dataset has.

Schemas are the same for a reader when arrays of the same names, dtypes and shapes come of them. What was
declared, whether a number came as Python's or NumPy's, and the dtype of the first reward make no difference
to what is read.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from tupli_query.core.refusals import Refused
from tupli_schemas.keys import leaf_key
from tupli_schemas.steps import GROUPS, Leaf, StepSchema

_SHOWN = 8
"""Schemas, and leaves of each, that a message names; the problem's members list every schema."""


@dataclass(frozen=True)
class SchemaGroup:
    """Episodes that share a step schema."""

    id: str
    schema: StepSchema
    episodes: int
    tuples: int
    texts: frozenset[str]

    def to_json(self) -> dict[str, Any]:
        """As a caller is told of it."""
        return {
            "id": self.id,
            "layout": self.schema.layout.text,
            "episodes": self.episodes,
            "tuples": self.tuples,
        }

    @cached_property
    def core(self) -> str:
        """The identity without the extra facts."""
        return _identity(self.schema.to_json(), ("observation", "action"))

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Whether an episode of a listing is of this step schema."""
        return _text(row["step_schema"]) in self.texts

    @property
    def leaves(self) -> tuple[str, ...]:
        """Its leaves as a caller is told of them: `observation.position f4[3]`."""
        return tuple(
            f"{leaf_key(group, leaf.path)} {_cell(leaf)}"
            for group in GROUPS.values()
            for leaf in self.schema.leaves(group)
        )


def schema_groups(rows: Sequence[Mapping[str, Any]]) -> list[SchemaGroup]:
    """The step schemas of the rows of `statements.count_episodes`, the largest first."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["step_schema"]:
            groups.setdefault(schema_id(_text(row["step_schema"])), []).append(row)
    out = [
        SchemaGroup(
            key,
            StepSchema.from_json(orjson.loads(members[0]["step_schema"])),
            sum(int(row["episodes"]) for row in members),
            sum(int(row["tuples"]) for row in members),
            frozenset(_text(row["step_schema"]) for row in members),
        )
        for key, members in groups.items()
    ]
    return sorted(out, key=lambda group: (-group.tuples, group.id))


def schema_id(text: str) -> str:
    """16 hexadecimal digits that say what is read: leaves, and the dicts and tuples that they are in."""
    return _identity(orjson.loads(text), tuple(GROUPS.values()))


def choose(groups: Sequence[SchemaGroup], wanted: str | None) -> tuple[SchemaGroup, ...]:
    """The step schemas of a dataset: the one that the caller names by id or layout, or all.

    None without episodes.

    Several differ in their extra facts alone.

    Raises:
        Refused: They differ in more, or there is none, or several, of that name.
    """
    if wanted is not None:
        chosen = tuple(group for group in groups if wanted in {group.id, group.schema.layout.text})
        if len(chosen) == 1 or not groups:
            return chosen
        raise Refused(
            "mixed_schemas" if chosen else "invalid_request",
            f"{wanted!r} names {len(chosen)} of the dataset's step schemas: name one by its id",
            place="step_schema",
            schemas=[group.to_json() for group in groups],
        )
    if len({group.core for group in groups}) > 1:
        raise mixed_schemas(groups)
    return tuple(groups)


def mixed_schemas(groups: Sequence[SchemaGroup], reason: str = "") -> Refused:
    """The refusal of a dataset whose step schemas do not go together."""
    told = f"the dataset has {len(groups)} step schemas, "
    told += f"and {reason} " if reason else ""
    return Refused(
        "mixed_schemas",
        f"{told}choose one with with_step_schema(id): {differences(groups)}",
        place="step_schema",
        schemas=[group.to_json() for group in groups],
    )


def differences(groups: Sequence[SchemaGroup]) -> str:
    """What each of the schemas has that not all of them have."""
    common = frozenset.intersection(*(frozenset(group.leaves) for group in groups))
    told = []
    for group in groups[:_SHOWN]:
        own = [leaf for leaf in group.leaves if leaf not in common]
        more = ["..."] if len(own) > _SHOWN else []
        what = ", ".join(own[:_SHOWN] + more) or "nothing more"
        told.append(f"{group.id} ({group.episodes} episodes) has {what}")
    if all(common.issuperset(group.leaves) for group in groups):
        told.append("the same leaves in other dicts, tuples or orders")
    return "; ".join(told)


def _identity(data: Mapping[str, Any], names: Sequence[str]) -> str:
    kept = {name: [data.get(name), same_nodes(data.get(f"{name}_structure"))] for name in names}
    return hashlib.sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def same_nodes(structure: Any) -> Any:
    """A structure's JSON without what makes no difference in arrays: boxes, lists for tuples.

    It is whatever a writer gave.
    """
    if isinstance(structure, list):
        return [same_nodes(item) for item in structure]
    if not isinstance(structure, dict):
        return structure
    kept = {name: same_nodes(value) for name, value in structure.items() if name != "box"}
    return kept | {"kind": "tuple"} if structure.get("kind") == "list" else kept


def _cell(leaf: Leaf) -> str:
    return f"{leaf.dtype}{list(leaf.shape or ())}" if leaf.dtype else leaf.cell.text


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode()
