"""Datasets: from a request to the frames of its answer.

The first phase lists the matching episodes at the pinned position, page by page; the second streams the steps
of each page. A page is bounded, so memory stays flat whatever the dataset.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from tupli_query.core.context import Context
from tupli_query.core.header_statements import count_there, deletions_so_far
from tupli_query.core.headers import read_whole
from tupli_query.core.joined_schemas import has_facts
from tupli_query.core.pages import MAX_PAGE_ROWS, EpisodePage, cut_pages, held_rows
from tupli_query.core.planning import Plan, listed, planned, selection_of
from tupli_query.core.reader import Chunk, ChunkStream, ReadSession, StoreReader, TooMuchToSort
from tupli_query.core.refusals import Refused
from tupli_query.core.requests import DatasetRequest, Resume, position_json
from tupli_query.core.schemas_of import SchemaGroup
from tupli_query.core.statements import count_episodes
from tupli_query.core.step_statements import PageEpisode, StepsQuery, count_steps, read_steps, step_columns
from tupli_query.core.stream import FrameStream, Parts
from tupli_schemas.ids import id_text

LOGGER = logging.getLogger(__name__)

CHUNK_BYTES: Final = 4 * 1024 * 1024
MAX_BLOCK_ROWS: Final = 65_536
SORTED_ROW_BYTES: Final = 1_024
"""Few wide rows are too much to sort, and read for nothing."""
OPAQUE_BYTES: Final = 256
"""What a cell of bytes is taken for, where its size is not known."""


def plan(reader: StoreReader, context: Context, request: DatasetRequest) -> Plan:
    """Look at a request with the store at hand.

    What is wrong with its tuple filter is said before the answer.

    Raises:
        Refused, FilterError, QueryError: It means nothing, or its step schemas do not go together.
        ReaderFailed: The store does not answer.
    """
    made = planned(reader, context, request)
    for group in made.found.groups if made.found is not None else ():
        read_steps(context, steps_query(made, group, ()))
    return made


def frames(reader: StoreReader, session: ReadSession, made: Plan) -> Iterator[Parts]:
    """The frames of the answer. Closing the iterator closes the session."""
    stream = FrameStream(limit=made.request.limit, pairs=made.request.next_observation)
    try:
        yield stream.head(head_members(made))
        if not made.is_empty and made.request.limit != 0:
            resume = made.request.resume
            read, guard = _Pages(session, made, stream), _Deletions(reader, made)
            for page in pages(reader, made):
                yield stream.page(page_members(reader, made, page, resume))
                yield from read.frames(page, resume)
                resume = None
                if stream.is_full:
                    break
                guard.check(page)
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
    if made.is_empty:
        return out
    for page in pages(reader, made):
        out["episodes"] += len(page.listed)
        query = steps_query(made, _group(made, page), tuple(item.episode for item in page.listed))
        out["tuples"] += int(reader.select(count_steps(context, query))[0]["tuples"])
    return out


def pages(reader: StoreReader, made: Plan) -> Iterator[EpisodePage]:
    """The pages of a dataset, from where the request begins."""
    request = made.request
    first = request.resume.first if request.resume is not None else 0
    most = MAX_PAGE_ROWS
    if request.episodes.order_by:
        most = held_rows(max(row_bytes(made, group) for group in made.dataset.groups))
    return cut_pages(listed(reader, made), first=first, most_rows=most, limit=request.limit_episodes)


def head_members(made: Plan) -> dict[str, Any]:
    """What the first frame says."""
    found = made.found
    limit = made.request.limit_episodes
    episodes = found.episodes if found is not None else 0
    return {
        "step_schema": None if found is None else found.schema.to_json(),
        "columns": [] if found is None else list(step_columns(made.request.columns, found.schema)),
        "position": position_json(made.pin),
        "episodes": episodes if limit is None else min(episodes, limit),
        "tuples": found.tuples if found is not None else 0,
    }


def announces_rows(made: Plan) -> bool:
    """Whether pages say how many tuples of each episode follow: where no filter or limit decides."""
    return made.request.tuple_filter is None and made.request.limit is None


def page_members(reader: StoreReader, made: Plan, page: EpisodePage, resume: Resume | None) -> dict[str, Any]:
    """What the frame before a page says, with the headers of its episodes, if they are asked for.

    `rows` are the tuples of each episode that follow, where no filter decides. `extra` says, where episodes
    differ in their extra facts, which column of the page's rows each leaf of the answer's facts is, and null
    where it is absent; `facts` names those that are there, for an empty tuple has no leaf.

    Raises:
        Refused: An episode is gone: it was deleted, or hidden, since it was listed.
    """
    out: dict[str, Any] = {
        "first": page.first,
        "after": page.after,
        "ids": [id_text(item.row["episode"]) for item in page.listed],
    }
    if made.dataset.is_joined and has_facts(made.dataset.schema):
        group = _group(made, page)
        out |= {"extra": made.dataset.extra_columns(group), "facts": made.dataset.facts_of(group)}
    if announces_rows(made):
        start, after_step = _start(page, resume)
        counts = [int(item.row["n_tuples"]) for item in page.listed]
        counts[:start] = [0] * start
        if after_step is not None:
            counts[start] = max(counts[start] - after_step - 1, 0)
        out["rows"] = counts
    if made.request.episode_headers:
        headers = read_whole(reader, made.context, [item.row for item in page.listed])
        if None in headers:
            raise _changed()
        out["headers"] = headers
    return out


def steps_query(
    made: Plan, group: SchemaGroup, page: tuple[PageEpisode, ...], after_step: int | None = None
) -> StepsQuery:
    """What to read of a page, whose episodes are of this step schema."""
    request = made.request
    words = list(request.columns)
    if request.next_observation and "observation" not in words:
        words.append("observation")
    return StepsQuery(
        schema=group.schema,
        others=made.dataset.others(group),
        page=page,
        tuple_filter=request.tuple_filter,
        columns=step_columns(words, group.schema),
        next_observation=request.next_observation,
        limit=request.limit,
        after_step=after_step,
        in_page_order=bool(request.episodes.order_by),
        pin=made.pin,
        metadata_keys=made.selection.metadata_keys,
    )


def row_bytes(made: Plan, group: SchemaGroup) -> int:
    """About what a row of the answer takes."""
    columns = set(steps_query(made, group, ()).columns)
    cells = [cell for name, cell in group.schema.layout.columns if name in columns]
    size = sum(OPAQUE_BYTES if cell.is_opaque else cell.size * cell.dtype.itemsize for cell in cells)
    return size + 48 + (OPAQUE_BYTES if "info" in columns else 0)


def _group(made: Plan, page: EpisodePage) -> SchemaGroup:
    return next(group for group in made.dataset.groups if group.id == page.schema)


class _Pages:
    """Reads the pages of one answer. As long as the filter leaves little of them, that is sorted."""

    def __init__(self, session: ReadSession, made: Plan, stream: FrameStream) -> None:
        self._session = session
        self._made = made
        self._stream = stream
        self._sorts = True

    def frames(self, page: EpisodePage, resume: Resume | None) -> Iterator[Parts]:
        """The rows of a page."""
        start, after_step = _start(page, resume)
        episodes = tuple(item.episode for item in page.listed[start:])
        group = _group(self._made, page)
        query = replace(steps_query(self._made, group, episodes, after_step), limit=self._stream.left)
        size = row_bytes(self._made, group)
        block = min(max(CHUNK_BYTES // size, 1), MAX_BLOCK_ROWS)
        query = replace(query, sorts=self._sorts and size <= SORTED_ROW_BYTES)
        chunks, chunk = self._begun(query, block)
        try:
            while chunk is not None:
                yield from self._stream.chunk(chunk)
                chunk = None if self._stream.is_full else chunks.fetch()
        finally:
            chunks.close()
        self._stream.page_over()

    def _begun(self, query: StepsQuery, block: int) -> tuple[ChunkStream, Chunk | None]:
        """The chunks of a page, the first one read: before it is there, the engine has no more to sort."""
        try:
            return self._read(query, block)
        except TooMuchToSort:
            LOGGER.info("a filter leaves too much to sort: the rest of the answer is read in order")
            self._sorts = False
            return self._read(replace(query, sorts=False), block)

    def _read(self, query: StepsQuery, block: int) -> tuple[ChunkStream, Chunk | None]:
        chunks = self._session.open(read_steps(self._made.context, query), max_block_rows=block)
        return chunks, chunks.fetch()


class _Deletions:
    """Sees that no episode was deleted while its page was read, where the page does not say how many rows come.

    A filter would hide that they are gone.
    """

    def __init__(self, reader: StoreReader, made: Plan) -> None:
        self._reader = reader
        self._made = made
        self._before = 0 if announces_rows(made) else self._commands()

    def check(self, page: EpisodePage) -> None:
        """The page is read.

        Raises:
            Refused: An episode of it is gone.
        """
        if announces_rows(self._made) or self._commands() == self._before:
            return
        keys = [item.episode.id for item in page.listed]
        found = self._reader.select(count_there(self._made.context, keys))
        if int(found[0]["there"]) != len(keys):
            raise _changed()

    def _commands(self) -> int:
        return int(self._reader.select(deletions_so_far(self._made.context))[0]["commands"])


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
    raise _changed()


def _changed() -> Refused:
    return Refused("conflict", "the dataset changed since it was begun; read it again", place="cursor")
