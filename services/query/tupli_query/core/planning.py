"""Planning a dataset: what a request means, with the store at hand, and the listing of its episodes.

A dataset of up to `LISTED_BRIEF` episodes is listed once, and its step schemas are those of the listing; the
step schemas of a larger one, and of one that goes on behind a cursor, are counted before. A dataset without
episodes has the step schema that its benchmarks' other episodes have, so that its arrays of nothing are typed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from tupli_query.core.compile_episodes import bare_metadata_keys
from tupli_query.core.context import STATUSES, Context, Selection
from tupli_query.core.header_statements import HEADER_FACTS
from tupli_query.core.joined_schemas import DatasetSchema, joined
from tupli_query.core.order import Order
from tupli_query.core.pages import Listed
from tupli_query.core.reader import StoreReader
from tupli_query.core.refusals import Refused
from tupli_query.core.requests import DatasetRequest, EpisodesRequest
from tupli_query.core.schemas_of import choose, schema_groups
from tupli_query.core.statements import (
    PAGE_COLUMNS,
    count_episodes,
    episode_order,
    list_dataset,
    log_position,
    metadata_keys,
)
from tupli_schemas.filter_tree import BaseFilter
from tupli_schemas.keys import Level
from tupli_schemas.records import Position

LISTED_BRIEF: Final = 8_192
"""Episodes of one listing. It has no text of any size: those of headers are read page by page."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Listing:
    """A part of the listing of episodes, and whether nothing comes behind it."""

    rows: Sequence[Row]
    is_last: bool


@dataclass(frozen=True)
class Plan:
    """A request that was found to mean something: what is left is to read.

    `found` is None where nobody knows the step schema: there are no episodes, and no others that tell it. Without
    episodes it counts none. `begun` is the part of the listing that was read for the plan.
    """

    context: Context
    request: DatasetRequest
    selection: Selection
    order: Order
    found: DatasetSchema | None
    pin: tuple[Position, ...]
    begun: Listing | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there are no episodes."""
        return self.found is None or not self.found.episodes

    @property
    def dataset(self) -> DatasetSchema:
        """The step schema of the dataset.

        Raises:
            Refused: Nobody knows it.
        """
        if self.found is None:
            raise Refused("not_found", "the dataset has no episodes")
        return self.found

    @property
    def after(self) -> str | None:
        """The cursor that the request begins behind."""
        return None if self.request.resume is None else self.request.resume.after


def selection_of(
    reader: StoreReader, context: Context, request: EpisodesRequest, *more: BaseFilter | None
) -> Selection:
    """Which episodes a request is about. The store is asked where a bare key may be metadata."""
    selection = Selection(
        benchmark_filter=request.benchmark_filter,
        episode_filter=request.episode_filter,
        include=request.include,
    )
    filters = [(request.episode_filter, Level.EPISODE), *((item, Level.TUPLE) for item in more)]
    wanted = bare_metadata_keys(*filters)
    ordered = any("." not in key for key in request.order_by)
    if not wanted and not ordered:
        return selection
    rows = reader.select(metadata_keys(context, selection, wanted))
    return replace(selection, metadata_keys=frozenset(row["path"].decode() for row in rows))


def planned(reader: StoreReader, context: Context, request: DatasetRequest) -> Plan:
    """Look at a request with the store at hand.

    Raises:
        Refused, FilterError, QueryError: It means nothing, or its step schemas do not go together.
        ReaderFailed: The store does not answer.
    """
    selection = selection_of(reader, context, request.episodes, request.tuple_filter)
    pin = request.pin
    if pin is None:
        rows = reader.select(log_position(context))
        pin = tuple(Position(int(r["log_generation"]), int(r["partition"]), int(r["offset"])) for r in rows)
    selection = replace(selection, pin=pin)
    order = episode_order(request.episodes.order_by, context, metadata_keys=selection.metadata_keys)
    empty = Plan(context, request, selection, order, None, pin)
    begun = _part(reader, empty, None) if empty.after is None else None
    if begun is not None and begun.is_last:
        counted = _counted(begun.rows)
    else:
        counted = reader.select(count_episodes(context, selection))
    groups = choose(schema_groups(counted), request.episodes.step_schema)
    if empty.after is not None:
        order.read_cursor(empty.after)  # what is wrong with it is said before the answer
    found = joined(groups, with_extra="extra" in request.columns) if groups else None
    if found is None:
        found = _schema_of_others(reader, context, selection, request)
    return replace(empty, found=found, begun=begun)


def _schema_of_others(
    reader: StoreReader, context: Context, selection: Selection, request: DatasetRequest
) -> DatasetSchema | None:
    """What a dataset without episodes would be of: the one step schema of the episodes that its filter leaves out.

    Those of its statuses tell it, else those of any. None where there are none, or several step schemas.
    """
    everything = replace(selection, episode_filter=None)
    wider = [everything] if selection.episode_filter is not None else []
    if len(everything.statuses) < len(STATUSES):
        wider.append(replace(everything, include=STATUSES))
    for others in wider:
        counted = reader.select(count_episodes(context, others))
        try:
            groups = choose(schema_groups(counted), request.episodes.step_schema)
            if groups:
                return joined(groups, with_extra="extra" in request.columns).of_nothing()
        except Refused:  # they do not go together; a dataset without episodes is right all the same
            return None
    return None


def listed(reader: StoreReader, made: Plan) -> Iterator[Listed]:
    """The episodes of the dataset, in its order, from where the request begins."""
    part = made.begun
    behind: Callable[[], str | None] = partial(getattr, made, "after")
    while True:
        part = part or _part(reader, made, behind())
        for row in part.rows:
            group = made.dataset.group_of(row["step_schema"])
            if group is not None:
                yield Listed(row, behind, group.id)
            behind = partial(made.order.cursor_of, row)
        if part.is_last:
            return
        part = None


def _part(reader: StoreReader, made: Plan, after: str | None) -> Listing:
    """The listing behind a cursor, each row with the text of its step schema."""
    statement = list_dataset(
        made.context,
        made.selection,
        order=made.order,
        after=None if after is None else made.order.read_cursor(after),
        limit=LISTED_BRIEF,
        columns=HEADER_FACTS if made.request.episode_headers else PAGE_COLUMNS,
    )
    rows = reader.select(statement)
    text = ""
    for row in rows:
        new = row["new_schema"]
        text = text if new is None else new if isinstance(new, str) else new.decode()
        row["step_schema"] = text
    return Listing(rows, len(rows) < LISTED_BRIEF)


def _counted(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows of `count_episodes`, of a whole listing."""
    out: dict[str, dict[str, Any]] = {}
    for row in rows:
        text = row["step_schema"]
        one = out.setdefault(text, {"step_schema": text, "episodes": 0, "tuples": 0})
        one["episodes"] += 1
        one["tuples"] += int(row["n_tuples"])
    return list(out.values())
