"""A tuple filter that is a Python function: it runs here, on every tuple, and costs what Python costs.

Everything that the function may look at has to be fetched, and a tuple object is made for every row: some
hundred thousand rows a second, where a filter of `F` runs on the server at millions.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tupli.datasets.query import Query
from tupli.datasets.tuples import tuples_of
from tupli.datasets.words import COMPANIONS, take

_SEEN = ("observation", "action", "reward", "terminated", "truncated", "info")


class Predicate:
    """Filters parts of a reading, and honours the query's limit behind the filter."""

    def __init__(self, query: Query, words: Sequence[str]) -> None:
        self._keep = query.tuple_predicate
        self._limit = query.limit
        self._words = set(words)
        self.words = tuple(dict.fromkeys((*words, *_SEEN)))

    def filtered(self, parts: Iterator[Any], rows: int) -> Iterator[Any]:
        """The parts with the rows that the function keeps; at most `rows` each."""
        left = self._limit
        for table, episode, step in parts:
            if left == 0:
                return
            kept = self._kept(table)[:left]
            left = None if left is None else left - len(kept)
            for start in range(0, len(kept), rows):
                index = kept[start : start + rows]
                yield (
                    {w: take(v, index) for w, v in table.items() if self._wanted(w)},
                    episode[index],
                    step[index],
                )

    def _kept(self, table: dict[str, Any]) -> Any:
        keep = self._keep
        if keep is None:
            return np.arange(len(table["reward"]))
        return np.flatnonzero([bool(keep(item)) for item in tuples_of(table, table["truncated"])])

    def _wanted(self, word: str) -> bool:
        return COMPANIONS.get(word, word) in self._words
