"""Benchmark filters: keys over the view of `views.visible_benchmarks`."""

from tupli_query.core.columns import Column, IdColumn, IndexedColumn, NamesColumn, TextColumn, TimeColumn
from tupli_query.core.compile_tree import compile_tree, condition_sql
from tupli_query.core.context import Context
from tupli_query.core.sql import TRUE, Params
from tupli_schemas.filter_tree import BaseFilter, Condition
from tupli_schemas.keys import Key, Level, parse_key

_TEXTS = {
    "name": "name",
    "description": "description",
    "difficulty": "difficulty",
    "version": "benchmark_version",
    "hash": "hash",
}


def compile_benchmark_filter(
    item: BaseFilter | None, context: Context, params: Params, *, place: str = "benchmark_filter"
) -> str:
    """The condition on a row of the benchmarks' view; 1 without a filter.

    Raises:
        FilterError: The filter means nothing for benchmarks; its place says where.
    """
    if item is None:
        return TRUE

    def atom(condition: Condition, where: str) -> str:
        key = parse_key(condition.key, Level.BENCHMARK, place=f"{where}.key")
        return condition_sql(condition, benchmark_column(key, context), params, where)

    return compile_tree(item, atom, place)


def benchmark_column(key: Key, context: Context) -> Column:
    """What a benchmark's key is in the view."""
    name = key.written
    if key.root == "extra":
        return IndexedColumn(name=name, prefix="extra", path=key.rest)
    if key.root in {"id", "owner", "created_by"}:
        expression = "id" if key.root == "id" else "owner"
        return IdColumn(name=name, expression=expression, subjects={} if key.root == "id" else context.names)
    if key.root == "created_at":
        return TimeColumn(name=name, expression="created_at")
    if key.root == "published_in":
        return NamesColumn(name=name, expression="scopes")
    return TextColumn(name=name, expression=_TEXTS[key.root])
