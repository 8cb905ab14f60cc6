"""Tuple filters: keys over the rows of a step table.

A condition on `next_observation` is computed on the observation of every row and taken from the row behind by
a window (`n0`, `n1`, ...): 0 where there is none, so that NOT is the exact complement. A condition on the
episode (`episode.return`) is membership in the visible episodes that it chooses.
"""

# ruff: noqa: S608 -- identifiers are our constants, values travel as parameters

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from tupli_query.core.columns import (
    BOOL,
    UINT64,
    AbsentColumn,
    Column,
    FloatColumn,
    GroupColumn,
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
from tupli_schemas.keys import ARRAYS, Element, Key, Level, UnknownKey, find_element, parse_key
from tupli_schemas.steps import Cell, Leaf, StepSchema

_OF_EPISODE = f"SELECT {EPISODE_KEY} FROM visible WHERE"
_BITS = {"i1": 8, "i2": 16, "i4": 32, "i8": 64, "u1": 8, "u2": 16, "u4": 32, "u8": 64}


@dataclass(frozen=True, slots=True)
class CompiledTuples:
    """A tuple filter: `condition` on a row, where `ahead[i]` is a condition on the next row, called `n<i>`.

    `of_episode` says that the condition looks at columns of `visible`.
    """

    condition: str = TRUE
    ahead: tuple[str, ...] = ()
    of_episode: bool = False


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
    others: Sequence[StepSchema] = (),
    metadata_keys: Collection[str] | None = None,
    place: str = "tuple_filter",
) -> CompiledTuples:
    """The condition on a row of the schema's step table.

    An extra fact that only `others` have, the step schemas of the dataset's other episodes, is absent here.
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
            return f"(({EPISODE_KEY}) IN ({_OF_EPISODE} {chosen}))"
        text = condition_sql(condition, tuple_column(key, schema, f"{where}.key", others), params, where)
        return ahead.name(text) if key.root == "next_observation" else text

    made = compile_tree(item, atom, place)
    return CompiledTuples(made, tuple(ahead.conditions), _OF_EPISODE in made)


def tuple_column(
    key: Key, schema: StepSchema, place: str = "key", others: Sequence[StepSchema] = ()
) -> Column:
    """What a tuple's key is in the step table; see `compile_tuple_filter` for `others`.

    Raises:
        FilterError: The schema has no such leaf, or an index is wrong.
    """
    name = key.written
    fixed: dict[str, Column] = {
        "reward": FloatColumn(name=name, expression="reward"),
        "terminated": WholeColumn(name=name, expression="terminated", bounds=BOOL),
        "truncated": WholeColumn(name=name, expression="truncated", bounds=BOOL),
        "step": WholeColumn(name=name, expression="step", bounds=UINT64),
        "time": TimeColumn(name=name, expression="time"),
        "info": IndexedColumn(name=name, prefix="info", path=key.rest),
    }
    if key.root in fixed:
        return fixed[key.root]
    assert key.root in {*ARRAYS, "extra"}  # noqa: S101 -- parse_key gives no other root
    try:
        return _leaf_column(name, find_element(key, schema, place=place), schema)
    except UnknownKey as error:
        if key.root == "extra":
            return _absent(key, error, place, others)
        if not key.rest:
            return GroupColumn(name=name, error=error)
        raise


def _absent(key: Key, error: UnknownKey, place: str, others: Sequence[StepSchema]) -> AbsentColumn:
    """The extra fact that another episode has."""
    name = key.written
    for schema in others:
        try:
            element = find_element(key, schema, place=place)
        except UnknownKey as other:
            error = max(error, other, key=lambda one: len(one.known))
        else:
            return AbsentColumn(name=name, elsewhere=_leaf_column(name, element, schema))
    raise error


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
        return OpaqueColumn(name=name, reason=_why_opaque(name, element.leaf))
    expression = column if element.flat is None else f"{column}[{element.flat + 1}]"
    if cell.dtype.kind == "f":
        return FloatColumn(name=name, expression=expression)
    return WholeColumn(name=name, expression=expression, bounds=_bounds(cell))


def _why_opaque(name: str, leaf: Leaf) -> str:
    if not leaf.dtype:
        return f"{name} holds values of any kind, kept as bytes, and cannot be filtered on"
    return (
        f"{name} is {np.dtype(leaf.dtype)}{list(leaf.shape or ())}, a type that the store keeps as exact bytes: it comes "
        "back as it was recorded, and cannot be filtered on (a Python function can: with_tuple_filter(lambda t: ...))"
    )


def _bounds(cell: Cell) -> tuple[int, int]:
    if cell.code == "b1":
        return BOOL
    bits = _BITS[cell.code]
    return (0, 2**bits - 1) if cell.code[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
