"""The statements that read steps: tuples of one page of episodes, and their number.

A page is a list of episodes that a listing gave. Its visibility is decided again in the statement itself, so a
page cannot name what the caller may not see. Rows come in the order of the step table (benchmark, owner, episode,
step), or of the page.

With `next_observation`, rows that only serve as the next observation of the row before them are among the answer:
they have `is_match = 0`, and the final row of an episode has `is_final = 1`. A row's successor, if there is one,
is the row of the same episode with `step + 1`, and comes right behind it.
"""

# ruff: noqa: S608 - identifiers are our constants, values travel as parameters

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tupli_query.core.compile_tuples import CompiledTuples, compile_tuple_filter
from tupli_query.core.context import Context
from tupli_query.core.errors import BadSelection
from tupli_query.core.sql import (
    FALSE,
    SORTED_SETTINGS,
    STREAM_SETTINGS,
    TRUE,
    CompiledQuery,
    Params,
    conjunction,
    settings_clause,
)
from tupli_query.core.statements import pinned
from tupli_query.core.views import EPISODE_KEY, in_episodes, own_episodes, visible_episodes
from tupli_schemas.filter_tree import BaseFilter
from tupli_schemas.records import Position
from tupli_schemas.steps import GROUPS, StepSchema

STEP_KEY: Final = f"{EPISODE_KEY}, step"
WORDS: Final = ("observation", "action", "extra", "reward", "terminated", "truncated", "time", "info")
"""Words of API.md that choose columns; `episode`, `step`, `is_final` and `is_match` are always there."""
ALWAYS: Final = ("episode", "step", "is_final")

_WHOLE_ID: Final = "concat(benchmark, owner, episode)"
"""An episode's id alone may be another owner's, too."""
_WINDOW: Final = (
    f"WINDOW w AS (PARTITION BY {EPISODE_KEY} ORDER BY step ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)"
)
_IN_ORDER: Final = "WINDOW v AS (ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"
"""Rows as they come out of the window before: named again, an order would be sorted again."""


@dataclass(frozen=True, slots=True)
class PageEpisode:
    """One episode of a page; `n_tuples` is its gapless prefix, beyond which nothing of it is read."""

    benchmark: bytes
    owner: bytes
    episode: bytes
    n_tuples: int

    @property
    def id(self) -> tuple[bytes, bytes, bytes]:
        """Benchmark, owner, episode."""
        return self.benchmark, self.owner, self.episode

    @staticmethod
    def of_row(row: Mapping[str, Any]) -> "PageEpisode":
        """The episode of a row of `statements.list_episodes`."""
        benchmark, owner, episode = (bytes(row[column]) for column in ("benchmark", "owner", "episode"))
        return PageEpisode(benchmark, owner, episode, int(row["n_tuples"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsQuery:
    """What to read of a page.

    Attributes:
        schema: The step schema that all of its episodes share.
        others: Step schemas of the dataset's other pages: what they have, and this one lacks, is absent here.
        page: The episodes, at least one.
        tuple_filter: Chooses tuples; None for all.
        columns: Columns of the step table, from `step_columns`.
        next_observation: Whether next rows come too.
        limit: Tuples at most, None for all. With `next_observation` up to `2 * limit` rows come; the reader stops
            behind the last tuple's successor.
        after_step: Of the page's first episode, what lies behind this step only: the last row that was received.
        in_page_order: Rows in the order of the page. Sorts in memory, so such a page has to be small.
        sorts: The filter is thought to leave little, which is sorted, instead of everything read in order. The engine
            gives up before the first row where that would take too much memory.
        pin: As in `Selection`.
        metadata_keys: As in `Selection`, for `episode.<key>`.
    """

    schema: StepSchema
    others: Sequence[StepSchema] = ()
    page: Sequence[PageEpisode]
    tuple_filter: BaseFilter | None = None
    columns: tuple[str, ...] = ()
    next_observation: bool = False
    limit: int | None = None
    after_step: int | None = None
    in_page_order: bool = False
    sorts: bool = False
    pin: tuple[Position, ...] | None = None
    metadata_keys: frozenset[str] | None = None


def step_columns(words: Sequence[str] | None, schema: StepSchema) -> tuple[str, ...]:
    """The columns that hold what the words name; `observation` is all of its leaves, None everything.

    Raises:
        BadSelection: A word is not known.
    """
    out: list[str] = []
    for i, word in enumerate(WORDS if words is None else words):
        if word in {*ALWAYS, "next_observation"}:
            continue
        if word not in WORDS:
            known = ", ".join((*WORDS, "next_observation", *ALWAYS[:2]))
            raise BadSelection(f"{word!r} is no column; known: {known}", place=f"columns[{i}]")
        if word in GROUPS.values():
            out += [schema.column(word, index) for index in range(len(schema.leaves(word)))]
        else:
            out.append(word)
    return tuple(dict.fromkeys(out))


def read_steps(context: Context, query: StepsQuery) -> CompiledQuery:
    """Rows `episode, step, is_final, is_match` and the columns of the query.

    Raises:
        FilterError: The tuple filter means nothing for this schema.
    """
    params = Params()
    head, tuples = _head(context, query, params)
    columns = ", ".join(dict.fromkeys((*ALWAYS, *query.columns)))
    rows, is_ordered = _rows(context, query, columns, tuples, params)
    order = "" if is_ordered and not query.in_page_order else f"\n{_order(query, params)}"
    text = f"{head}SELECT {columns}, is_match FROM (\n{rows}\n)\nWHERE {_behind(query, params)}{order}"
    if query.limit is not None:
        text += f"\nLIMIT {max(query.limit, 0) * (2 if query.next_observation else 1)}"
    # Behind a limit a page is not read to its end, if it is read in its order.
    sorts = query.sorts and query.tuple_filter is not None and query.limit is None
    settings = SORTED_SETTINGS if sorts and not is_ordered and not query.in_page_order else STREAM_SETTINGS
    return CompiledQuery(context.visibility, f"{text}\n{settings_clause(settings)}", params.values)


def _rows(
    context: Context, query: StepsQuery, columns: str, tuples: CompiledTuples, params: Params
) -> tuple[str, bool]:
    """The subquery of the rows, and whether it is in the order of the table as it stands."""
    if not query.page or tuples.condition == FALSE:
        return _plain(context, query, columns, FALSE), False
    if query.next_observation and tuples.condition == TRUE:
        return _everything(context, query, columns, params), False
    if query.next_observation or tuples.ahead:
        # One thread reads in the order of the sorting key and the window keeps it. An ORDER BY on top would not
        # be seen to be met: the engine then sorts twice in memory (1 GB over 5 M rows instead of 60 MB).
        return _windowed(context, query, columns, tuples, params), True
    condition = conjunction((*_bounds(query, params), tuples.condition))
    return _plain(context, query, columns, condition), False


def count_steps(context: Context, query: StepsQuery) -> CompiledQuery:
    """One row: `tuples`, how many tuples of the page the tuple filter chooses; columns and limit do not count.

    Raises:
        FilterError: The tuple filter means nothing for this schema.
    """
    params = Params()
    head, tuples = _head(context, query, params)
    if not query.page or tuples.condition == FALSE:
        rows = _plain(context, query, "step", FALSE)
    elif tuples.ahead:
        rows = _windowed(context, query, "step", tuples, params, lone=True)
    else:
        rows = _plain(context, query, "step", conjunction((*_bounds(query, params), tuples.condition)))
    text = f"{head}SELECT count() AS tuples FROM (\n{rows}\n)"
    return CompiledQuery(context.visibility, f"{text}\n{settings_clause(STREAM_SETTINGS)}", params.values)


def _head(context: Context, query: StepsQuery, params: Params) -> tuple[str, CompiledTuples]:
    """The visible episodes of the page, and the tuple filter."""
    tuples = compile_tuple_filter(
        query.tuple_filter,
        query.schema,
        context,
        params,
        others=query.others,
        metadata_keys=query.metadata_keys,
    )
    restriction = in_episodes((item.id for item in query.page), params)
    is_own = all(item.owner == context.visibility.subject for item in query.page)
    view = own_episodes if is_own and not tuples.of_episode else visible_episodes
    return f"WITH visible AS (\n{view(context, params, restriction)}\n)\n", tuples


def _table(context: Context, query: StepsQuery) -> str:
    return f"{context.database}.{query.schema.layout.table} FINAL"


def _plain(context: Context, query: StepsQuery, columns: str, condition: str) -> str:
    """Transitions that a condition on their own row chooses."""
    return (
        f"SELECT {_with_key(columns)}, toUInt8(1) AS is_match FROM {_table(context, query)}\n"
        f"WHERE {conjunction(('is_final = 0', condition))}"
    )


def _everything(context: Context, query: StepsQuery, columns: str, params: Params) -> str:
    """All transitions and the final rows: every next observation is there without a window."""
    return (
        f"SELECT {_with_key(columns)}, toUInt8(is_final = 0) AS is_match FROM {_table(context, query)}\n"
        f"WHERE {conjunction(_bounds(query, params))}"
    )


def _windowed(
    context: Context,
    query: StepsQuery,
    columns: str,
    tuples: CompiledTuples,
    params: Params,
    *,
    lone: bool = False,
) -> str:
    """Transitions whose condition needs the next row, or that bring it along."""
    matched = f"toUInt8({conjunction(('is_final = 0', tuples.condition))})"
    shown = _with_key(columns)
    bounds = conjunction(_bounds(query, params))
    if not tuples.ahead:
        was = f"lagInFrame({matched}, 1, toUInt8(0)) OVER w"
        rows = f"{_table(context, query)}\nWHERE {bounds}\n{_WINDOW}"
        return (
            f"SELECT * FROM (SELECT {shown}, {matched} AS is_match, {was} AS was_match FROM {rows})\n"
            "WHERE is_match OR was_match"
        )
    ahead = ", ".join(
        f"leadInFrame(toUInt8({condition}), 1, toUInt8(0)) OVER w AS n{i}"
        for i, condition in enumerate(tuples.ahead)
    )
    rows = f"SELECT *, {ahead} FROM {_table(context, query)}\nWHERE {bounds}\n{_WINDOW}"
    matches = f"SELECT {shown}, {matched} AS is_match FROM (\n{rows}\n)"
    if lone or not query.next_observation:
        return f"{matches}\nWHERE is_match"
    was = f"lagInFrame(({EPISODE_KEY}, is_match)) OVER v = ({EPISODE_KEY}, toUInt8(1))"
    return f"SELECT * FROM (SELECT *, {was} AS was_match FROM (\n{matches}\n)\n{_IN_ORDER})\nWHERE is_match OR was_match"


def _with_key(columns: str) -> str:
    return ", ".join(dict.fromkeys((*STEP_KEY.split(", "), *columns.split(", "))))


def _bounds(query: StepsQuery, params: Params) -> list[str]:
    """Rows that can be read at all: of visible episodes, in the gapless prefix, up to the pinned position."""
    conditions = [_in_page(query, params), _in_prefix(query, params)]
    if query.pin is not None:
        conditions.append(pinned(query.pin, "`offset`", params))
    return conditions


def _in_prefix(query: StepsQuery, params: Params) -> str:
    """Steps before `n_tuples`, as the listing gave it, and the final row there: more may have come since."""
    limits = {item.n_tuples for item in query.page}
    if len(limits) == 1:
        return f"step < {params.whole(limits.pop())} + is_final"
    numbers = params.numbers((item.n_tuples for item in query.page), "UInt64")
    tails = [int.from_bytes(item.episode[8:], "little") for item in query.page]
    if len(set(tails)) == len(tails):
        # A number is looked up in a third of the time of a text.
        key, names = "reinterpretAsUInt64(substring(episode, 9))", params.numbers(tails, "UInt64")
    else:
        key, names = _WHOLE_ID, params.raws(b"".join(item.id) for item in query.page)
    return f"step < transform({key}, {names}, {numbers}, toUInt64(0)) + is_final"


def _in_page(query: StepsQuery, params: Params) -> str:
    owners = {(item.benchmark, item.owner) for item in query.page}
    if len(owners) != 1:
        return f"({EPISODE_KEY}) IN (SELECT {EPISODE_KEY} FROM visible)"
    # A key of 16 bytes is looked up in half the time of one of 48.
    benchmark, owner = map(params.raw, owners.pop())
    return f"(benchmark = {benchmark} AND owner = {owner} AND episode IN (SELECT episode FROM visible))"


def _behind(query: StepsQuery, params: Params) -> str:
    if query.after_step is None or not query.page:
        return TRUE
    benchmark, owner, episode = map(params.raw, query.page[0].id)
    step = params.whole(query.after_step)
    return f"NOT (benchmark = {benchmark} AND owner = {owner} AND episode = {episode} AND step <= {step})"


def _order(query: StepsQuery, params: Params) -> str:
    if not query.in_page_order or len(query.page) < 2:
        return f"ORDER BY {STEP_KEY}"
    ids = params.raws(b"".join(item.id) for item in query.page)
    positions = params.numbers(range(len(query.page)), "UInt64")
    return f"ORDER BY transform({_WHOLE_ID}, {ids}, {positions}, toUInt64(0)), {STEP_KEY}"
