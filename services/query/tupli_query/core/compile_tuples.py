"""Tuple filters: keys over the rows of a step table.

A condition on `next_observation` is computed on the observation of every row and taken from the row behind by a
window (`n0`, `n1`, ...): 0 where there is none, so that NOT is the exact complement. A condition on the episode
(`episode.return`) is membership in the visible episodes that it chooses.
"""

# ruff: noqa: S608 - identifiers are our constants, values travel as parameters

from collections.abc import Collection
from dataclasses import dataclass, field

from tupli_query.core.columns import (
    BOOL,
    UINT64,
    Column,
    FloatColumn,
    IndexedColumn,
    OpaqueColumn,
    TextColumn,
    TimeColumn,
    WholeColumn,
)
from tupli_query.core.compile_episodes import episode_column
from tupli_query.core.compile_tree import compile_tree, condition_sql
from tupli_query.core.context import Context
from tupli_query.core.sql import FALSE, TRUE, Params
from tupli_query.core.views import EPISODE_KEY
from tupli_schemas.filter_tree import BaseFilter, Condition
from tupli_schemas.keys import ARRAYS, Element, Key, Level, find_element, parse_key
from tupli_schemas.steps import Cell, StepSchema

_BITS = {"i1": 8, "i2": 16, "i4": 32, "i8": 64, "u1": 8, "u2": 16, "u4": 32, "u8": 64}


@dataclass(frozen=True, slots=True)
class CompiledTuples:
    """A tuple filter: `condition` on a row, where `ahead[i]` is a condition on the next row, called `n<i>`."""

    condition: str = TRUE
    ahead: tuple[str, ...] = ()


@dataclass(slots=True)
class _Ahead:
    conditions: list[str] = field(default_factory=list)

    def name(self, condition: str) -> str:
        if condition == FALSE:
            return FALSE
        if condition not in self.conditions:
            self.conditions.append(condition)
        return f"n{self.conditions.index(condition)}"


def compile_tuple_filter(
    item: BaseFilter | None,
    schema: StepSchema,
    context: Context,
    params: Params,
    *,
    metadata_keys: Collection[str] | None = None,
    place: str = "tuple_filter",
) -> CompiledTuples:
    """The condition on a row of the schema's step table.

    `episode.<key>` reads `visible`, a common table expression with the view of the episodes.

    Raises:
        FilterError: The filter means nothing for tuples of this schema; its place says where.
    """
    if item is None:
        return CompiledTuples()
    ahead = _Ahead()

    def atom(condition: Condition, where: str) -> str:
        key = parse_key(condition.key, Level.TUPLE, metadata_keys=metadata_keys, place=f"{where}.key")
        if key.root == "episode":
            inner = parse_key(key.rest, Level.EPISODE, metadata_keys=metadata_keys, place=f"{where}.key")
            chosen = condition_sql(condition, episode_column(inner, context), params, where)
            if chosen in {TRUE, FALSE}:
                return chosen
            return f"(({EPISODE_KEY}) IN (SELECT {EPISODE_KEY} FROM visible WHERE {chosen}))"
        text = condition_sql(condition, tuple_column(key, schema, f"{where}.key"), params, where)
        return ahead.name(text) if key.root == "next_observation" else text

    return CompiledTuples(compile_tree(item, atom, place), tuple(ahead.conditions))


def tuple_column(key: Key, schema: StepSchema, place: str = "key") -> Column:
    """What a tuple's key is in the step table.

    Raises:
        FilterError: The schema has no such leaf, or an index is wrong.
    """
    fixed: dict[str, Column] = {
        "reward": FloatColumn(name=key.text, expression="reward"),
        "terminated": WholeColumn(name=key.text, expression="terminated", bounds=BOOL),
        "truncated": WholeColumn(name=key.text, expression="truncated", bounds=BOOL),
        "step": WholeColumn(name=key.text, expression="step", bounds=UINT64),
        "time": TimeColumn(name=key.text, expression="time"),
        "info": IndexedColumn(name=key.text, prefix="info", path=key.rest),
    }
    if key.root in fixed:
        return fixed[key.root]
    assert key.root in {*ARRAYS, "extra"}  # noqa: S101 - parse_key gives no other root
    return _leaf_column(key.text, find_element(key, schema, place=place), schema)


def _leaf_column(name: str, element: Element, schema: StepSchema) -> Column:
    cell = element.leaf.cell
    column = schema.column(element.group, element.index)
    if element.is_whole_array:
        example = ",".join("0" * len(cell.shape))
        reason = f"{name} is an array of shape {list(cell.shape)}; name an element, as in {name}[{example}]"
        return OpaqueColumn(name=name, reason=reason)
    if cell.code == "text":
        return TextColumn(name=name, expression=column)
    if not cell.is_numeric:
        kind = (
            f"{element.leaf.dtype} of shape {list(element.leaf.shape or ())}"
            if element.leaf.dtype
            else "values"
        )
        return OpaqueColumn(name=name, reason=f"{name} is kept as exact bytes ({kind}) and does not compare")
    expression = column if element.flat is None else f"{column}[{element.flat + 1}]"
    if cell.dtype.kind == "f":
        return FloatColumn(name=name, expression=expression)
    return WholeColumn(name=name, expression=expression, bounds=_bounds(cell))


def _bounds(cell: Cell) -> tuple[int, int]:
    if cell.code == "b1":
        return BOOL
    bits = _BITS[cell.code]
    return (0, 2**bits - 1) if cell.code[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
