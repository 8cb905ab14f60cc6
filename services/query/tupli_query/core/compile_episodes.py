"""Episode filters: keys over the view of `views.visible_episodes`."""

from collections.abc import Collection
from typing import Final

from tupli_query.core.columns import (
    BOOL,
    INT256,
    UINT64,
    Column,
    FloatColumn,
    IdColumn,
    IndexedColumn,
    NamesColumn,
    TextColumn,
    TimeColumn,
    WholeColumn,
)
from tupli_query.core.compile_tree import compile_tree, condition_sql
from tupli_query.core.context import Context
from tupli_query.core.sql import TRUE, Params
from tupli_schemas.filter_tree import BaseFilter, Condition, FilterNOT, Group
from tupli_schemas.keys import Key, Level, bare_metadata_key, parse_key

STREAM: Final = "toFixedString(concat(substring(episode, 1, 12), unhex('00000000')), 16)"
SEED: Final = "toInt256OrNull(seed)"


def compile_episode_filter(
    item: BaseFilter | None,
    context: Context,
    params: Params,
    *,
    metadata_keys: Collection[str] | None = None,
    place: str = "episode_filter",
) -> str:
    """The condition on a row of the episodes' view; 1 without a filter.

    Args:
        item: The filter.
        context: Who asks.
        params: Takes the filter's values.
        metadata_keys: Paths of metadata that visible episodes have; what bare keys may name besides fields.
        place: How the caller calls the filter.

    Raises:
        FilterError: The filter means nothing for episodes; its place says where.
    """
    if item is None:
        return TRUE

    def atom(condition: Condition, where: str) -> str:
        key = parse_key(condition.key, Level.EPISODE, metadata_keys=metadata_keys, place=f"{where}.key")
        return condition_sql(condition, episode_column(key, context), params, where)

    return compile_tree(item, atom, place)


def episode_column(key: Key, context: Context) -> Column:
    """What an episode's key is in the view."""
    name = key.written
    if key.root == "metadata":
        return IndexedColumn(name=name, prefix="metadata", path=key.rest)
    columns: dict[str, Column] = {
        "id": IdColumn(name=name, expression="episode", subjects={}),
        "benchmark_id": IdColumn(name=name, expression="benchmark", subjects={}),
        "created_by": IdColumn(name=name, expression="owner", subjects=context.names),
        "created_at": TimeColumn(name=name, expression="started_at", guard="has_start = 1"),
        "started_at": TimeColumn(name=name, expression="started_at", guard="has_start = 1"),
        "ended_at": TimeColumn(name=name, expression="ended_at", guard="ended = 1"),
        "status": TextColumn(name=name, expression="state"),
        "n_tuples": WholeColumn(name=name, expression="n_tuples", bounds=UINT64),
        "return": FloatColumn(name=name, expression="assumeNotNull(`return`)", guard="isNotNull(`return`)"),
        "seed": WholeColumn(
            name=name, expression=f"assumeNotNull({SEED})", guard=f"isNotNull({SEED})", bounds=INT256
        ),
        "run": TextColumn(name=name, expression="run"),
        "policy": TextColumn(name=name, expression="assumeNotNull(policy)", guard="isNotNull(policy)"),
        "stream": IdColumn(name=name, expression=STREAM, subjects={}),
        "slot": WholeColumn(name=name, expression="slot", bounds=(0, 2**32 - 1)),
        "terminated": WholeColumn(name=name, expression="terminated", bounds=BOOL),
        "truncated": WholeColumn(name=name, expression="truncated", bounds=BOOL),
        "published_in": NamesColumn(name=name, expression="scopes"),
        "alignment": TextColumn(name=name, expression="'pre_step'"),
    }
    return columns[key.root]


def bare_metadata_keys(*filters: tuple[BaseFilter | None, Level]) -> frozenset[str]:
    """Paths that filters name without `metadata.`.

    Where there are some, ask `statements.metadata_keys` first.
    """
    return frozenset(path for item, level in filters if item is not None for path in _bare(item, level))


def _bare(item: BaseFilter, level: Level) -> list[str]:
    if isinstance(item, Group):
        return [path for member in item.filters for path in _bare(member, level)]
    if isinstance(item, FilterNOT):
        return _bare(item.filter, level)
    path = bare_metadata_key(item.key, level) if isinstance(item, Condition) else None
    return [] if path is None else [path]
