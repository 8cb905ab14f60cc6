"""Batches of a dataset: flat memory, whatever the size, shuffled over a window that says its size."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from tupli.datasets.reading import Reading, Table
from tupli.datasets.words import take

WINDOW_BATCHES: Final = 4


class Batches:
    """Iterates over a dataset in batches; every iteration reads it anew.

    Attributes:
        batch_size: Rows of a batch; the last one may have fewer.
        window: Rows that are shuffled together, 0 without shuffling. Rows further apart never meet, so that a
            window smaller than the dataset is no uniform shuffle.
    """

    def __init__(
        self,
        reading: Callable[[], Reading],
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        window: int | None = None,
    ) -> None:
        self._reading = reading
        self._seed = seed
        self.batch_size = batch_size
        self.window = max(window or batch_size * WINDOW_BATCHES, batch_size) if shuffle else 0

    def __iter__(self) -> Iterator[Table]:
        if not self.window:
            return (table for table, _, _ in self._reading().parts(self.batch_size))
        return self._shuffled(np.random.default_rng(self._seed))

    def _shuffled(self, rng: np.random.Generator) -> Iterator[Table]:
        for table, episode, _ in self._reading().parts(self.window):
            order = rng.permutation(len(episode))
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                yield {word: take(value, rows) for word, value in table.items()}

    def __repr__(self) -> str:
        how = f"shuffled over windows of {self.window:,} rows" if self.window else "in order"
        return f"<Batches of {self.batch_size:,} rows, {how}>"


def rows_of(table: Table) -> int:
    """How many rows a table has."""
    return _rows(next(iter(table.values()))) if table else 0


def _rows(value: Any) -> int:
    if isinstance(value, dict):
        return _rows(next(iter(value.values())))
    return _rows(value[0]) if isinstance(value, tuple | list) else len(value)
