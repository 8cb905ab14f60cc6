"""Datasets: from a request to the frames of its answer.

The first phase lists the matching episodes at the pinned position, page by page; the second streams the steps of
each page. A page is bounded, so memory stays flat whatever the dataset.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tupli_query.core.compile_episodes import bare_metadata_keys
from tupli_query.core.context import Context, Selection
from tupli_query.core.headers import episode_header
from tupli_query.core.order import Cursor, Order
from tupli_query.core.pages import MAX_PAGE_ROWS, EpisodePage, Listed, cut_pages, held_rows
from tupli_query.core.reader import ReadSession, StoreReader
from tupli_query.core.refusals import Refused
from tupli_query.core.requests import DatasetRequest, EpisodesRequest, Resume, position_json
from tupli_query.core.schemas_of import SchemaGroup, choose, schema_groups
from tupli_query.core.statements import (
    EPISODE_COLUMNS,
    PAGE_COLUMNS,
    count_episodes,
    episode_order,
    list_episodes,
    log_position,
    metadata_keys,
)
from tupli_query.core.step_statements import PageEpisode, StepsQuery, count_steps, read_steps, step_columns
from tupli_query.core.stream import FrameStream, Parts
from tupli_schemas.filter_tree import BaseFilter
from tupli_schemas.ids import id_text
from tupli_schemas.keys import Level
from tupli_schemas.records import Position
from tupli_schemas.steps import StepSchema

LISTED_BRIEF: Final = 8_192
LISTED_FULL: Final = 1_024
"""Episodes of one listing; with headers a row may be large."""

CHUNK_BYTES: Final = 4 * 1024 * 1024
MAX_BLOCK_ROWS: Final = 65_536
OPAQUE_BYTES: Final = 256
"""What a cell of bytes is taken for, where its size is not known."""


@dataclass(frozen=True)
class Plan:
    """A request that was found to mean something: what is left is to read."""

    context: Context
    request: DatasetRequest
    selection: Selection
    order: Order
    group: SchemaGroup | None
    is_mixed: bool
    pin: tuple[Position, ...]
    after: Cursor | None

    @property
    def schema(self) -> StepSchema:
        """The step schema of the dataset.

        Raises:
            Refused: There are no episodes, so that nobody knows it.
        """
        if self.group is None:
            raise Refused("not_found", "the dataset has no episodes")
        return self.group.schema


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


def plan(reader: StoreReader, context: Context, request: DatasetRequest) -> Plan:
    """Look at a request with the store at hand.

    Raises:
        Refused, FilterError, QueryError: It means nothing, or has several step schemas.
        ReaderFailed: The store does not answer.
    """
    selection = selection_of(reader, context, request.episodes, request.tuple_filter)
    pin = request.pin
    if pin is None:
        rows = reader.select(log_position(context))
        pin = tuple(Position(int(r["log_generation"]), int(r["partition"]), int(r["offset"])) for r in rows)
    selection = replace(selection, pin=pin)
    order = episode_order(request.episodes.order_by, context, metadata_keys=selection.metadata_keys)
    groups = schema_groups(reader.select(count_episodes(context, selection)))
    group = choose(groups, request.episodes.step_schema)
    after = None
    if request.resume is not None and request.resume.after is not None:
        after = order.read_cursor(request.resume.after)
    out = Plan(context, request, selection, order, group, len(groups) > 1, pin, after)
    if group is not None:
        read_steps(
            context, steps_query(out, ())
        )  # what is wrong with the tuple filter is said before the answer
    return out


def frames(reader: StoreReader, session: ReadSession, made: Plan) -> Iterator[Parts]:
    """The frames of the answer. Closing the iterator closes the session."""
    stream = FrameStream(limit=made.request.limit, pairs=made.request.next_observation)
    try:
        yield stream.head(head_members(made))
        if made.group is not None and made.request.limit != 0:
            resume = made.request.resume
            for page in pages(reader, made):
                yield stream.page(page_members(made, page, resume))
                yield from _page_frames(session, made, page, stream, resume)
                resume = None
                if stream.is_full:
                    break
        yield stream.close()
    finally:
        session.close()


def count(reader: StoreReader, context: Context, request: DatasetRequest) -> dict[str, int]:
    """How many episodes and tuples a dataset has."""
    if (
        request.tuple_filter is None
        and request.limit_episodes is None
        and request.episodes.step_schema is None
    ):
        selection = selection_of(reader, context, request.episodes)
        rows = reader.select(count_episodes(context, selection))
        return {name: sum(int(row[name]) for row in rows) for name in ("episodes", "tuples")}
    made = plan(reader, context, request)
    out = {"episodes": 0, "tuples": 0}
    if made.group is None:
        return out
    for page in pages(reader, made):
        out["episodes"] += len(page.listed)
        query = steps_query(made, tuple(item.episode for item in page.listed))
        out["tuples"] += int(reader.select(count_steps(context, query))[0]["tuples"])
    return out


def pages(reader: StoreReader, made: Plan) -> Iterator[EpisodePage]:
    """The pages of a dataset, from where the request begins."""
    first = made.request.resume.first if made.request.resume is not None else 0
    request = made.request
    held = bool(request.episodes.order_by) or (request.next_observation and request.tuple_filter is not None)
    most = held_rows(row_bytes(made)) if held else MAX_PAGE_ROWS
    return cut_pages(_listed(reader, made), first=first, most_rows=most, limit=request.limit_episodes)


def head_members(made: Plan) -> dict[str, Any]:
    """What the first frame says."""
    group = made.group
    limit = made.request.limit_episodes
    episodes = group.episodes if group is not None else 0
    return {
        "step_schema": None if group is None else group.schema.to_json(),
        "columns": [] if group is None else list(step_columns(made.request.columns, group.schema)),
        "position": position_json(made.pin),
        "episodes": episodes if limit is None else min(episodes, limit),
        "tuples": group.tuples if group is not None else 0,
    }


def page_members(made: Plan, page: EpisodePage, resume: Resume | None) -> dict[str, Any]:
    """What the frame before a page says; `rows` are the tuples of each episode that follow, where no filter decides."""
    out: dict[str, Any] = {
        "first": page.first,
        "after": page.after,
        "ids": [id_text(item.row["episode"]) for item in page.listed],
    }
    if made.request.tuple_filter is None and made.request.limit is None:
        start, after_step = _start(page, resume)
        counts = [int(item.row["n_tuples"]) for item in page.listed]
        counts[:start] = [0] * start
        if after_step is not None:
            counts[start] = max(counts[start] - after_step - 1, 0)
        out["rows"] = counts
    if made.request.episode_headers:
        out["headers"] = [episode_header(item.row) for item in page.listed]
    return out


def steps_query(made: Plan, page: tuple[PageEpisode, ...], after_step: int | None = None) -> StepsQuery:
    """What to read of a page."""
    request = made.request
    words = list(request.columns)
    if request.next_observation and "observation" not in words:
        words.append("observation")
    return StepsQuery(
        schema=made.schema,
        page=page,
        tuple_filter=request.tuple_filter,
        columns=step_columns(words, made.schema),
        next_observation=request.next_observation,
        limit=request.limit,
        after_step=after_step,
        in_page_order=bool(request.episodes.order_by),
        pin=made.pin,
        metadata_keys=made.selection.metadata_keys,
    )


def row_bytes(made: Plan) -> int:
    """About what a row of the answer takes."""
    columns = set(steps_query(made, ()).columns)
    cells = [cell for name, cell in made.schema.layout.columns if name in columns]
    size = sum(OPAQUE_BYTES if cell.is_opaque else cell.size * cell.dtype.itemsize for cell in cells)
    return size + 48 + (OPAQUE_BYTES if "info" in columns else 0)


def _page_frames(
    session: ReadSession, made: Plan, page: EpisodePage, stream: FrameStream, resume: Resume | None
) -> Iterator[Parts]:
    start, after_step = _start(page, resume)
    episodes = tuple(item.episode for item in page.listed[start:])
    query = replace(steps_query(made, episodes, after_step), limit=stream.left)
    block = min(max(CHUNK_BYTES // row_bytes(made), 1), MAX_BLOCK_ROWS)
    chunks = session.open(read_steps(made.context, query), max_block_rows=block)
    try:
        while not stream.is_full and (chunk := chunks.fetch()) is not None:
            yield from stream.chunk(chunk)
    finally:
        chunks.close()
    stream.page_over()


def _start(page: EpisodePage, resume: Resume | None) -> tuple[int, int | None]:
    """The index of the first episode that is due, and the step of it that came last.

    Raises:
        Refused: The episode is gone: it was deleted, or hidden, since the stream broke off.
    """
    if resume is None or resume.episode is None:
        return 0, None
    for index, item in enumerate(page.listed):
        if item.row["episode"] == resume.episode:
            return index, resume.step - 1 if resume.step else None
    raise Refused("conflict", "the dataset changed since it was begun; read it again", place="cursor")


def _listed(reader: StoreReader, made: Plan) -> Iterator[Listed]:
    """The listing of the dataset's episodes, in parts."""
    columns = (
        EPISODE_COLUMNS
        if made.request.episode_headers
        else (*PAGE_COLUMNS, "step_schema")
        if made.is_mixed
        else PAGE_COLUMNS
    )
    limit = LISTED_FULL if made.request.episode_headers else LISTED_BRIEF
    after, text = made.after, made.request.resume.after if made.request.resume is not None else None
    while True:
        statement = list_episodes(
            made.context, made.selection, order=made.order, after=after, limit=limit, columns=columns
        )
        rows = reader.select(statement)
        for row in rows:
            if _belongs(row, made):
                yield Listed(row, text)
            text = made.order.cursor_of(row)
        if len(rows) < limit or text is None:
            return
        after = made.order.read_cursor(text)


def _belongs(row: Mapping[str, Any], made: Plan) -> bool:
    if not made.is_mixed:
        return bool(row["layout"])
    return made.group is not None and made.group.holds(row)
