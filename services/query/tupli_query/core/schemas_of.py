"""Which step schema a dataset has."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tupli_query.core.refusals import Refused
from tupli_schemas.steps import StepSchema

_NOT_COMPARED = ("observation_space", "action_space")
"""Declared spaces may differ (another version of the environment): what rows hold does not depend on them."""


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
    """16 hexadecimal digits that say what rows hold: leaves, structures, reward dtype."""
    data = orjson.loads(text)
    kept = {name: value for name, value in data.items() if name not in _NOT_COMPARED}
    return hashlib.sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def choose(groups: Sequence[SchemaGroup], wanted: str | None) -> SchemaGroup | None:
    """The one step schema of a dataset, or the one that the caller names by id or layout; None without episodes.

    Raises:
        Refused: There are several, or none of that name.
    """
    listed = [group.to_json() for group in groups]
    if wanted is not None:
        chosen = [group for group in groups if wanted in {group.id, group.schema.layout.text}]
        if len(chosen) == 1 or not groups:
            return chosen[0] if chosen else None
        raise Refused(
            "mixed_schemas" if chosen else "invalid_request",
            f"{wanted!r} names {len(chosen)} of the dataset's step schemas: name one by its id",
            place="step_schema",
            schemas=listed,
        )
    if len(groups) > 1:
        names = "; ".join(f"{g['id']} ({g['layout']}): {g['episodes']} episodes" for g in listed[:8])
        raise Refused(
            "mixed_schemas",
            f"the dataset has {len(groups)} step schemas, choose one with step_schema: {names}",
            place="step_schema",
            schemas=listed,
        )
    return groups[0] if groups else None


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode()
