"""Collects blocks of a stream into columns, and puts every row together with the one after it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tupli.datasets.buffers import Buffer, BytesBuffer, ChunkedBuffer, NumericBuffer
from tupli.datasets.stream import Block
from tupli.datasets.words import HAS_EXTRA, HAS_NEXT, Source, extra_names, sources, spread, values_of
from tupli_schemas.steps import Cell, StepSchema

Ints = npt.NDArray[np.int64]


class Collector:
    """Kept rows under the words asked for.

    Args:
        schema: What rows hold.
        words: The columns to keep.
        capacity: How many rows are expected; more may come.
    """

    def __init__(self, schema: StepSchema, words: Iterable[str], capacity: int) -> None:
        self._schema = schema
        self._words = tuple(words)
        self._sources = sources(schema, self._words)
        flat = {source for group in self._sources.values() for source in group}
        self._buffers: dict[Source, Buffer] = {source: _buffer(source, capacity) for source in flat}
        self._next = [source for source in flat if source.of_next]
        self._extra = self._sources.get("extra", [])
        self._this = [source for source in flat if not source.of_next and source not in self._extra]
        self._names = extra_names(schema) if "extra" in self._sources else {}
        self._there = {name: NumericBuffer(Cell("b1"), capacity) for name in self._names}
        self._pairs = "next_observation" in self._words
        self._episode = NumericBuffer(Cell("i8"), capacity)
        self._step = NumericBuffer(Cell("i8"), capacity)
        self._has_next = NumericBuffer(Cell("b1"), capacity if self._pairs else 0)
        self.rows = 0
        self._pending = False

    @property
    def complete(self) -> int:
        """Rows that will not change any more; the last one may still wait for its next observation."""
        return self.rows - int(self._pending)

    def add(self, block: Block) -> None:
        """Keep the block's rows."""
        if not len(block):
            return
        if self._pending:
            self._complete(block)
        kept = None if block.matched == len(block) else np.flatnonzero(block.match)
        count = len(block) if kept is None else len(kept)
        if not count:
            return
        for source in self._this:
            self._buffers[source].append(block.columns[source.column], kept)
        self._add_extra(block, kept, count)
        self._episode.extend(block.episode if kept is None else block.episode[kept])
        self._step.extend(block.step if kept is None else block.step[kept])
        self.rows += count
        if self._pairs:
            self._pair(block, np.arange(count) if kept is None else kept)

    def take(self, count: int) -> dict[str, Any]:
        """The first `count` rows under their words, which are forgotten here."""
        out = self.table(count)
        for name, leaves in self._names.items():
            having = int(np.count_nonzero(self._there[name].view(count)))
            for leaf in leaves:
                self._buffers[self._extra[leaf]].drop(having)
        plain = [self._buffers[source] for source in (*self._this, *self._next)]
        for buffer in (*plain, *self._there.values(), self._episode, self._step):
            buffer.drop(count)
        if self._pairs:
            self._has_next.drop(count)
        self.rows -= count
        return out

    def table(self, count: int | None = None) -> dict[str, Any]:
        """The first `count` rows (all) under their words, as the user's arrays."""
        count = self.rows if count is None else count
        out: dict[str, Any] = {}
        for word in self._words:
            if word in {"episode", "step"}:
                out[word] = (self._episode if word == "episode" else self._step).view(count)
            elif word == "extra":
                out[word], out[HAS_EXTRA] = self._facts(count)
            else:
                columns = [self._buffers[source].view(count) for source in self._sources[word]]
                out[word] = values_of(self._schema, word, columns)
        if self._pairs:
            out[HAS_NEXT] = self._has_next.view(count)
        return out

    def _add_extra(self, block: Block, kept: Ints | None, count: int) -> None:
        """Keep the extra facts that the rows have; the buffers hold no rows without."""
        for name, leaves in self._names.items():
            is_there = block.has_fact(name, [self._extra[leaf].column for leaf in leaves])
            for leaf in leaves if is_there else ():
                source = self._extra[leaf]
                self._buffers[source].append(block.columns[source.column], kept)
            self._there[name].extend(np.full(count, is_there))

    def _facts(self, count: int) -> tuple[Any, dict[str, Any]]:
        """The extra facts, and under their names where they are there."""
        has = {name: there.view(count) for name, there in self._there.items()}
        columns = [
            self._buffers[self._extra[leaf]].view(int(np.count_nonzero(has[name])))
            for name, leaves in self._names.items()
            for leaf in leaves
        ]
        facts = values_of(self._schema, "extra", columns)
        if not all(mask.all() for mask in has.values()):
            nameless = not isinstance(facts, dict)
            facts = spread(facts, has[""]) if nameless else {n: spread(f, has[n]) for n, f in facts.items()}
        return facts, has

    def places(self, count: int | None = None) -> tuple[Ints, Ints]:
        """(episode, step) of the first `count` rows (all)."""
        count = self.rows if count is None else count
        return self._episode.view(count), self._step.view(count)

    def _pair(self, block: Block, kept: Ints) -> None:
        after = np.minimum(kept + 1, len(block) - 1)
        follows = (block.episode[after] == block.episode[kept]) & (block.step[after] == block.step[kept] + 1)
        self._pending = bool(kept[-1] == len(block) - 1)
        rows = np.where(follows, after, -1)
        self._has_next.extend(follows)
        for source in self._next:
            self._buffers[source].append(block.columns[source.column], rows)

    def _complete(self, block: Block) -> None:
        """Give the last kept row of the block before its next observation, when this block begins with it."""
        episode, step = self._episode.last(), self._step.last()
        if (block.episode[0], block.step[0]) == (episode, step + 1):
            for source in self._next:
                self._buffers[source].set_last(block.columns[source.column], 0)
            self._has_next.replace_last(True)
        self._pending = False


def _buffer(source: Source, capacity: int) -> Buffer:
    if source.cell is None:
        return ChunkedBuffer()
    if source.cell.is_opaque and not source.cell.is_numeric:
        return BytesBuffer()
    fill = np.nan if source.of_next and source.cell.dtype.kind == "f" else 0
    return NumericBuffer(source.cell, capacity, fill=fill)
