"""The statements about benchmarks and episodes, as pure functions that return a `CompiledQuery`.

Rows of listings carry `k0, k1, ...`, the values that the next page starts behind: `order.cursor_of(row)` makes the
cursor of them. Statements of steps are in `step_statements`.
"""

# ruff: noqa: S608 - identifiers are our constants, values travel as parameters

from collections.abc import Iterable, Sequence
from typing import Any, Final

from tupli_query.core.compile_benchmarks import benchmark_column, compile_benchmark_filter
from tupli_query.core.compile_episodes import compile_episode_filter, episode_column
from tupli_query.core.context import Context, Selection
from tupli_query.core.order import Cursor, Order, order_of, split_direction
from tupli_query.core.sql import (
    READ_SETTINGS,
    TRUE,
    CompiledQuery,
    Params,
    conjunction,
    disjunction,
    settings_clause,
)
from tupli_query.core.views import visible_benchmarks, visible_episodes
from tupli_schemas.filter_tree import BaseFilter
from tupli_schemas.keys import Level, parse_key
from tupli_schemas.records import Position

MAX_METADATA_KEYS: Final = 1_000

BENCHMARK_COLUMNS: Final = (
    "id",
    "owner",
    "name",
    "descriptor",
    "hash",
    "description",
    "difficulty",
    "benchmark_version",
    "extra",
    "created_at",
    "scopes",
)
EPISODE_COLUMNS: Final = (
    "benchmark",
    "owner",
    "episode",
    "slot",
    "layout",
    "step_schema",
    "started_at",
    "ended_at",
    "received_at",
    "seed",
    "options",
    "reset_info",
    "run",
    "policy",
    "environment",
    "versions",
    "metadata",
    "has_start",
    "ended",
    "terminated",
    "truncated",
    "aborted",
    "reason",
    "n_steps",
    "prefix",
    "n_tuples",
    "has_final",
    "return",
    "digest",
    "conflict_reason",
    "state",
    "scopes",
    "log_generation",
    "partition",
    "offset",
    "ended_offset",
)
PAGE_COLUMNS: Final = ("benchmark", "owner", "episode", "layout", "n_tuples")
"""What `step_statements.PageEpisode.of_row` needs."""


def benchmark_order(order_by: Sequence[Any], context: Context) -> Order:
    """The order of a benchmark listing; by id (creation) where `order_by` is empty.

    Raises:
        BadOrder, UnknownKey: It names no key that has an order.
    """
    columns = []
    for i, item in enumerate(order_by):
        name, down = split_direction(item, f"order_by[{i}]")
        key = parse_key(name, Level.BENCHMARK, place=f"order_by[{i}]")
        columns.append((benchmark_column(key, context), down))
    return order_of(columns, ("id",))


def episode_order(
    order_by: Sequence[Any], context: Context, *, metadata_keys: frozenset[str] | None = None
) -> Order:
    """The order of an episode listing (`-return`, `metadata.month`); that of the step tables where it is empty.

    Raises:
        BadOrder, UnknownKey: It names no key that has an order.
    """
    columns = []
    for i, item in enumerate(order_by):
        name, down = split_direction(item, f"order_by[{i}]")
        key = parse_key(name, Level.EPISODE, metadata_keys=metadata_keys, place=f"order_by[{i}]")
        columns.append((episode_column(key, context), down))
    return order_of(columns, ("benchmark", "owner", "episode"))


def list_benchmarks(
    context: Context,
    benchmark_filter: BaseFilter | None = None,
    *,
    order: Order | None = None,
    after: Cursor | None = None,
    limit: int,
) -> CompiledQuery:
    """Visible benchmarks: `BENCHMARK_COLUMNS` and the order's `k<i>`, at most `limit` rows behind `after`.

    Raises:
        FilterError: The filter means nothing for benchmarks.
    """
    params = Params()
    order = order or benchmark_order((), context)
    chosen = compile_benchmark_filter(benchmark_filter, context, params)
    text = (
        f"WITH visible AS (\n{visible_benchmarks(context, params)}\n)\n"
        + _listing(BENCHMARK_COLUMNS, chosen, order, params, after=after, inclusive=False)
        + f"\nLIMIT {max(int(limit), 0)}"
    )
    return _compiled(context, text, params)


def list_episodes(
    context: Context,
    selection: Selection,
    *,
    order: Order | None = None,
    after: Cursor | None = None,
    inclusive: bool = False,
    limit: int,
    columns: Sequence[str] = EPISODE_COLUMNS,
) -> CompiledQuery:
    """Visible episodes of a selection: `columns` and the order's `k<i>`, at most `limit` rows.

    Args:
        context: Where and for whom.
        selection: Which episodes.
        order: Their order; without one that of the step tables.
        after: The cursor that the page starts behind.
        inclusive: Start with the cursor's own row: the episode in which a dataset stream broke off.
        limit: Rows at most.
        columns: Of `EPISODE_COLUMNS`; `PAGE_COLUMNS` is enough for reading steps.

    Raises:
        FilterError: A filter means nothing at its level.
    """
    params = Params()
    order = order or episode_order((), context)
    text = (
        _visible(context, params)
        + _listing(
            columns, _chosen(context, selection, params), order, params, after=after, inclusive=inclusive
        )
        + f"\nLIMIT {max(int(limit), 0)}"
    )
    return _compiled(context, text, params)


def list_dataset(
    context: Context,
    selection: Selection,
    *,
    order: Order,
    after: Cursor | None = None,
    limit: int,
    columns: Sequence[str] = PAGE_COLUMNS,
) -> CompiledQuery:
    """As `list_episodes` behind `after`, with what a dataset is read by.

    `new_schema` is the step schema, NULL where it is that of the row before: many episodes share a long text.

    Raises:
        FilterError: A filter means nothing at its level.
    """
    params = Params()
    keys = ", ".join(f"k{i}" for i in range(len(order.terms)))
    listing = _listing(
        tuple(dict.fromkeys((*columns, "step_schema"))),
        _chosen(context, selection, params),
        order,
        params,
        after=after,
        inclusive=False,
    )
    shown = ", ".join(f"`{name}`" for name in columns if name != "step_schema")
    text = (
        f"{_visible(context, params)}SELECT {shown}, {keys},\n"
        "  if(row_number() OVER w > 1 AND lagInFrame(step_schema) OVER w = step_schema, NULL, step_schema)"
        f" AS new_schema\nFROM (\n{listing}\nLIMIT {max(int(limit), 0)}\n)\n"
        f"WINDOW w AS ({order.clause} ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)\n{order.clause}"
    )
    return _compiled(context, text, params)


def count_episodes(context: Context, selection: Selection) -> CompiledQuery:
    """One row a step schema of the selection: `layout, step_schema, episodes, tuples`; none when it is empty.

    `tuples` counts transitions without a tuple filter. More than one row: the dataset spans several schemas.

    Raises:
        FilterError: A filter means nothing at its level.
    """
    params = Params()
    text = (
        _visible(context, params)
        + "SELECT layout, step_schema, count() AS episodes, sum(n_tuples) AS tuples\nFROM visible\n"
        + f"WHERE {_chosen(context, selection, params)}\nGROUP BY layout, step_schema ORDER BY layout, step_schema"
    )
    return _compiled(context, text, params)


def metadata_keys(context: Context, selection: Selection, wanted: Iterable[str]) -> CompiledQuery:
    """Rows `path`: paths of metadata that visible episodes of the chosen benchmarks have, `wanted` ones first.

    Status and episode filter do not count here. Needed where `compile_episodes.bare_metadata_keys` finds some.

    Raises:
        FilterError: The benchmark filter means nothing for benchmarks.
    """
    params = Params()
    paths = "arrayConcat(mapKeys(metadata_num), mapKeys(metadata_int), mapKeys(metadata_str), metadata_other)"
    first = sorted(wanted)
    rank = f"has({params.texts(first)}, path) DESC, " if first else ""
    text = (
        _visible(context, params)
        + f"SELECT DISTINCT toString(arrayJoin({paths})) AS path\nFROM visible\n"
        + f"WHERE {_of_benchmarks(context, selection, params)}\n"
        + f"ORDER BY {rank}path LIMIT {MAX_METADATA_KEYS}"
    )
    return _compiled(context, text, params)


def log_position(context: Context) -> CompiledQuery:
    """Rows `log_generation, partition, offset`: how far the facts about episodes have come, a partition."""
    text = (
        "SELECT log_generation, partition, max(offset) AS offset\n"
        f"FROM {context.database}.episodes FINAL\nGROUP BY log_generation, partition ORDER BY 1, 2"
    )
    return _compiled(context, text, Params())


def pinned(positions: Iterable[Position], offset: str, params: Params) -> str:
    """The condition that a row came no later than the pinned positions; `offset` is the column that says when."""
    parts = (
        f"(log_generation = {params.whole(at.generation)} AND partition = {params.whole(at.partition)} "
        f"AND {offset} <= {params.whole(at.offset)})"
        for at in positions
    )
    return f"({' OR '.join(parts) or '0'})"


def _visible(context: Context, params: Params) -> str:
    return f"WITH visible AS (\n{visible_episodes(context, params)}\n)\n"


def _chosen(context: Context, selection: Selection, params: Params) -> str:
    conditions = [
        f"state IN ({', '.join(repr(status) for status in selection.statuses)})",
        _of_benchmarks(context, selection, params),
        compile_episode_filter(
            selection.episode_filter, context, params, metadata_keys=selection.metadata_keys
        ),
    ]
    if selection.pin is not None:
        conditions.append(disjunction(("ended = 0", pinned(selection.pin, "ended_offset", params))))
    return conjunction(conditions)


def _of_benchmarks(context: Context, selection: Selection, params: Params) -> str:
    if selection.benchmark_filter is None:
        return TRUE
    chosen = compile_benchmark_filter(selection.benchmark_filter, context, params)
    return f"benchmark IN (SELECT id FROM ({visible_benchmarks(context, params)}) WHERE {chosen})"


def _listing(
    columns: Sequence[str],
    chosen: str,
    order: Order,
    params: Params,
    *,
    after: Cursor | None,
    inclusive: bool,
) -> str:
    shown = ", ".join(f"`{name}`" for name in columns)
    behind = TRUE if after is None else order.behind(after, params, inclusive=inclusive)
    return (
        f"SELECT {shown}, {', '.join(f'k{i}' for i in range(len(order.terms)))}\n"
        f"FROM (SELECT *, {order.columns} FROM visible WHERE {chosen})\nWHERE {behind}\n{order.clause}"
    )


def _compiled(context: Context, text: str, params: Params) -> CompiledQuery:
    return CompiledQuery(context.visibility, f"{text}\n{settings_clause(READ_SETTINGS)}", params.values)
