"""The query service: what can be asked, as one object over the port to the store."""

from collections.abc import Callable, Iterator
from typing import Any

from tupli_query.core.context import Context
from tupli_query.core.datasets import count, frames, plan
from tupli_query.core.generations import serving_database
from tupli_query.core.header_statements import HEADER_FACTS
from tupli_query.core.headers import benchmark_header, portion, read_whole
from tupli_query.core.planning import selection_of
from tupli_query.core.reader import StoreReader
from tupli_query.core.requests import dataset_request, episodes_request
from tupli_query.core.schemas_of import SchemaGroup, choose, schema_groups
from tupli_query.core.statements import (
    benchmark_order,
    count_episodes,
    episode_order,
    list_benchmarks,
    list_episodes,
)
from tupli_query.core.stream import Parts
from tupli_query.core.visibility import Visibility


class QueryService:
    """Answers requests. Every method blocks, and resolves the serving generation once.

    Args:
        reader: The store.
        now_ns: Unix nanoseconds.
    """

    def __init__(self, reader: StoreReader, now_ns: Callable[[], int]) -> None:
        self._reader = reader
        self._now_ns = now_ns

    def dataset(self, visibility: Visibility, body: Any) -> Iterator[Parts]:
        """The frames of a dataset; the iterator has to be closed.

        Raises:
            Refused, ContractError: The request means nothing.
            ReaderBusy: Too many datasets are being streamed.
            ReaderFailed: The store does not answer.
        """
        request = dataset_request(body)
        session = self._reader.session()
        try:
            made = plan(self._reader, self._context(visibility), request)
        except BaseException:  # whatever it is, the session goes back before it is raised again
            session.close()
            raise
        return frames(self._reader, session, made)

    def count(self, visibility: Visibility, body: Any) -> dict[str, Any]:
        """How many episodes and tuples a dataset has."""
        return dict(count(self._reader, self._context(visibility), dataset_request(body)))

    def episodes(self, visibility: Visibility, body: Any) -> dict[str, Any]:
        """A page of episode headers, and the cursor of the next one.

        With a step schema, or where headers are large, pages have fewer episodes than their limit; the cursor says
        whether there are more.
        """
        request = episodes_request(body)
        context = self._context(visibility)
        selection = selection_of(self._reader, context, request)
        chosen: tuple[SchemaGroup, ...] | None = None
        if request.step_schema is not None:
            groups = schema_groups(self._reader.select(count_episodes(context, selection)))
            chosen = choose(groups, request.step_schema)
        order = episode_order(request.order_by, context, metadata_keys=selection.metadata_keys)
        after = None if request.cursor is None else order.read_cursor(request.cursor)
        columns = HEADER_FACTS if chosen is None else (*HEADER_FACTS, "step_schema")
        statement = list_episodes(
            context, selection, order=order, after=after, limit=request.limit, columns=columns
        )
        rows = self._reader.select(statement)
        more = bool(rows) and len(rows) == request.limit
        due = [row for row in rows if chosen is None or any(group.holds(row) for group in chosen)]
        shown = due[: portion(due)]
        headers = read_whole(self._reader, context, shown)
        last = shown[-1] if len(shown) < len(due) else rows[-1] if more else None
        return {
            "episodes": [header for header in headers if header is not None],
            "cursor": None if last is None else order.cursor_of(last),
        }

    def benchmarks(self, visibility: Visibility, body: Any) -> dict[str, Any]:
        """A page of benchmarks, and the cursor of the next one."""
        request = episodes_request(body)
        context = self._context(visibility)
        order = benchmark_order(request.order_by, context)
        after = None if request.cursor is None else order.read_cursor(request.cursor)
        statement = list_benchmarks(
            context, request.benchmark_filter, order=order, after=after, limit=request.limit
        )
        rows = self._reader.select(statement)
        more = bool(rows) and len(rows) == request.limit
        return {
            "benchmarks": [benchmark_header(row) for row in rows],
            "cursor": order.cursor_of(rows[-1]) if more else None,
        }

    def ready(self) -> None:
        """Say nothing when the store answers.

        Raises:
            ReaderFailed: It does not.
        """
        serving_database(self._reader)

    def _context(self, visibility: Visibility) -> Context:
        return Context(database=serving_database(self._reader), visibility=visibility, now_ns=self._now_ns())
