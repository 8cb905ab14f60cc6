"""Tables as the seed's tuples."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tupli.datasets.words import take
from tupli.models import RLTuple


def tuples_of(table: Mapping[str, Any], timeouts: Any) -> Iterator[RLTuple]:
    """One tuple a row; `terminal` and `timeout` are the flags given."""
    rewards = table["reward"].tolist()
    terminals = table["terminated"].tolist()
    for i, info in enumerate(table["info"]):
        yield RLTuple(
            take(table["observation"], i),
            take(table["action"], i),
            rewards[i],
            info,
            terminals[i],
            bool(timeouts[i]),
        )


class Tuples(Sequence[RLTuple]):
    """The tuples of a table, each made when it is looked at."""

    def __init__(self, table: Mapping[str, Any], timeouts: Any) -> None:
        self._table = table
        self._timeouts = timeouts

    def __len__(self) -> int:
        return len(self._timeouts)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        table = self._table
        return RLTuple(
            take(table["observation"], row),
            take(table["action"], row),
            float(table["reward"][row]),
            table["info"][row],
            bool(table["terminated"][row]),
            bool(self._timeouts[row]),
        )

    def __iter__(self) -> Iterator[RLTuple]:
        return tuples_of(self._table, self._timeouts)
