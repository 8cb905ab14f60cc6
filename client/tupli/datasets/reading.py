"""Readings of a dataset: one pass over its rows as a table, as batches, or episode by episode."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tupli.datasets.collect import Collector
from tupli.datasets.estimate import MAX_ROOM_ROWS, room_rows
from tupli.datasets.nothing import Declared, empty_table
from tupli.datasets.port import QueryPort
from tupli.datasets.predicate import Predicate
from tupli.datasets.progress import Progress
from tupli.datasets.query import Query
from tupli.datasets.stream import DatasetStream
from tupli.datasets.words import take
from tupli.models import EpisodeHeader
from tupli_schemas.steps import StepSchema

Ints = npt.NDArray[np.int64]
Table = dict[str, Any]


@dataclass(frozen=True)
class Pulled:
    """A whole dataset: its table, and what is known of its episodes."""

    table: Table
    ids: list[str]
    headers: list[EpisodeHeader]
    schema: StepSchema | None
    episode: Ints
    step: Ints


@dataclass(frozen=True)
class EpisodeData:
    """One episode in arrays: T+1 observations (T where the final one is unknown), T of everything else."""

    header: EpisodeHeader
    observations: Any
    actions: Any
    rewards: npt.NDArray[Any]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    infos: Sequence[Any]

    def __len__(self) -> int:
        return len(self.rewards)


class Reading:
    """One pass over a query's rows.

    Args:
        port: The way to the query service.
        query: What to read.
        words: The columns that are wanted.
        headers: Whether episode headers come along.
        label: What a progress bar calls it.
        on_nothing: Is called when there are no episodes and nobody knows their step schema; says what spaces declare.
    """

    def __init__(
        self,
        port: QueryPort,
        query: Query,
        words: Sequence[str],
        *,
        headers: bool = False,
        label: str = "pull",
        on_nothing: Callable[[], Declared] = dict,
    ) -> None:
        self._words = tuple(words)
        self._predicate = None if query.tuple_predicate is None else Predicate(query, self._words)
        wanted = self._words if self._predicate is None else self._predicate.words
        self._wanted = wanted
        self._query = query
        self._label = label
        self._on_nothing = on_nothing
        self._declared: Declared = {}
        self.stream = DatasetStream(port, query.request(wanted, headers=headers))

    def pulled(self, check: Callable[[StepSchema | None, int], None] | None = None) -> Pulled:
        """Everything. `check` gets the step schema and the most rows that can come, before they do."""
        if self._predicate is not None:
            return self._filtered_here(check)
        collector: Collector | None = None
        for block in self._blocks():
            if collector is None:
                collector = self._collector(check)
            collector.add(block)
        if collector is None:
            return self._empty()
        return self._result(collector.table(), *collector.places())

    def parts(self, rows: int) -> Iterator[tuple[Table, Ints, Ints]]:
        """(table, episode, step) of `rows` rows at a time, the last ones fewer. Memory stays flat."""
        if self._predicate is None:
            return self._raw_parts(rows)
        return self._predicate.filtered(self._raw_parts(None), rows)

    def episodes(self) -> Iterator[EpisodeData]:
        """Whole episodes, in the dataset's order; needs the default columns, infos and headers."""
        collector: Collector | None = None
        for block in self._blocks():
            if collector is None:
                collector = Collector(self._schema, self._wanted, self._room())
            collector.add(block)
            episode, _ = collector.places()
            done = int(np.searchsorted(episode, episode[-1])) if len(episode) else 0
            if done:
                yield from self._split(collector.take(done))
        if collector is not None and collector.rows:
            yield from self._split(collector.take(collector.rows))

    def _split(self, table: Table) -> Iterator[EpisodeData]:
        episode = table["episode"]
        starts = np.flatnonzero(np.r_[True, episode[1:] != episode[:-1]])
        for start, end in zip(starts, [*starts[1:], len(episode)], strict=True):
            rows = {word: take(value, slice(start, end)) for word, value in table.items()}
            header = EpisodeHeader.from_json(self.stream.headers[int(episode[start])])
            yield _episode_data(header, rows)

    def _raw_parts(self, rows: int | None) -> Iterator[tuple[Table, Ints, Ints]]:
        """Parts of `rows` rows; of so many as room is made for, where it makes no difference (None)."""
        collector: Collector | None = None
        for block in self._blocks():
            if collector is None:
                rows = self._room() if rows is None else rows
                collector = Collector(self._schema, self._wanted, self._capacity(rows + len(block)))
            collector.add(block)
            while rows is not None and collector.complete >= rows:
                yield self._part(collector, rows)
        if collector is not None and collector.rows:
            yield self._part(collector, collector.rows)

    def _part(self, collector: Collector, rows: int) -> tuple[Table, Ints, Ints]:
        places = collector.places(rows)
        return collector.take(rows), *places

    def _blocks(self) -> Iterator[Any]:
        with Progress(self._label) as progress:
            for block in self.stream.blocks():
                head = self.stream.head
                progress.advance(len(block), head.tuples if head else None)
                yield block
        if not self.stream.ids and (self.stream.head is None or self.stream.head.schema is None):
            self._declared = self._on_nothing()

    def _collector(self, check: Callable[[StepSchema | None, int], None] | None) -> Collector:
        if check is not None:
            check(self._schema, self._most)
        return Collector(self._schema, self._wanted, self._capacity(self._most))

    def _capacity(self, rows: int) -> int:
        """Room for `rows`, if they come for sure. A filter may keep little: then the buffers grow with what comes."""
        is_sure = self._query.tuple_filter is None and self._query.limit is None
        return min(rows, self._most) if is_sure else min(rows, self._room())

    def _room(self) -> int:
        """Rows to make room for where nobody knows how many come, at least one."""
        return max(min(self._most, room_rows(self._schema)), 1)

    @property
    def _most(self) -> int:
        """The most rows that can come."""
        return self.stream.head.tuples if self.stream.head is not None else 0

    def _filtered_here(self, check: Callable[[StepSchema | None, int], None] | None) -> Pulled:
        tables: list[tuple[Table, Ints, Ints]] = []
        for part in self.parts(MAX_ROOM_ROWS):
            if check is not None and not tables and self.stream.head is not None:
                check(self._schema, self.stream.head.tuples)
            tables.append(part)
        if not tables:
            return self._empty()
        table = {word: _joined([part[0][word] for part in tables]) for word in tables[0][0]}
        places = [np.concatenate([part[i] for part in tables]) for i in (1, 2)]
        return self._result(table, places[0], places[1])

    def _result(self, table: Table, episode: Ints, step: Ints) -> Pulled:
        headers = [EpisodeHeader.from_json(header) for header in self.stream.headers]
        return Pulled(table, self.stream.ids, headers, self._schema, episode, step)

    def _empty(self) -> Pulled:
        headers = [EpisodeHeader.from_json(header) for header in self.stream.headers]
        nothing = np.zeros(0, np.int64)
        schema = self.stream.head.schema if self.stream.head is not None else None
        if schema is None:
            table = empty_table(self._words, self._declared)
            return Pulled(table, self.stream.ids, headers, None, nothing, nothing)
        return Pulled(
            Collector(schema, self._words, 0).table(), self.stream.ids, headers, schema, nothing, nothing
        )

    @property
    def _schema(self) -> StepSchema:
        head = self.stream.head
        if head is None or head.schema is None:
            raise RuntimeError("rows came before the answer's header")
        return head.schema


def _episode_data(header: EpisodeHeader, rows: Table) -> EpisodeData:
    observations = rows["observation"]
    if rows["has_next"][-1]:
        observations = _joined([observations, take(rows["next_observation"], slice(-1, None))])
    return EpisodeData(
        header,
        observations,
        rows["action"],
        rows["reward"],
        rows["terminated"],
        rows["truncated"],
        rows["info"],
    )


def _joined(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        return {name: _joined([value[name] for value in values]) for name in first}
    if isinstance(first, tuple | list):
        return type(first)(_joined(list(members)) for members in zip(*values, strict=True))
    join = getattr(first, "joined", None)
    return join(values) if join is not None else np.concatenate(values, dtype=first.dtype)
