"""The part of a dataset that is in memory: its arrays, and the forms of others."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tupli.datasets.loaded import Loaded
from tupli.datasets.parsers import BaseTupleParser, NumpyTupleParser
from tupli.datasets.query import check_batch_size
from tupli.datasets.question import Question
from tupli.datasets.words import tuples_of
from tupli.models import EpisodeHeader, RLTuple


class LoadedForms(Question):
    """What was loaded; whoever derives from it loads, when something is looked at before."""

    @property
    def observations(self) -> Any:
        """Observations the actions were chosen on."""
        return self._data.table["observation"]

    @property
    def actions(self) -> Any:
        """Actions."""
        return self._data.table["action"]

    @property
    def rewards(self) -> Any:
        """Rewards."""
        return self._data.table["reward"]

    @property
    def next_observations(self) -> Any:
        """Observations after the step."""
        return self._data.table["next_observation"]

    @property
    def terminals(self) -> Any:
        """Where the environment terminated; never a truncation."""
        return self._data.terminals

    @property
    def timeouts(self) -> Any:
        """The last kept row before every gap or end that is not terminal."""
        return self._data.timeouts

    @property
    def infos(self) -> Any:
        """Infos, decoded when they are looked at."""
        return self._data.table["info"]

    @property
    def episodes(self) -> list[EpisodeHeader]:
        """Headers of the episodes, also of those without a tuple; with `limit`, of those that reading came to."""
        return self._data.headers

    @property
    def tuples(self) -> Any:
        """The tuples, each made when it is looked at."""
        return self._data.tuples

    def as_batch_generator(self, batch_size: int, shuffle: bool = False) -> Iterator[list[RLTuple]]:  # noqa: FBT001, FBT002 -- the seed's signature
        """Lists of `batch_size` tuples of the loaded dataset, the last one may have fewer.

        Raises:
            InvalidInput: `batch_size` is no whole number from 1.
        """
        size = check_batch_size(batch_size)
        tuples = self._data.tuples
        order = self._rng.permutation(len(tuples)) if shuffle else np.arange(len(tuples))
        starts = range(0, len(order), size)
        return ([tuples[int(row)] for row in order[start : start + size]] for start in starts)

    def convert_to_tensors(self, parser: type[BaseTupleParser] = NumpyTupleParser) -> tuple[Any, ...]:
        """(observations, actions, rewards, terminals, timeouts) as the parser makes them.

        The order is that of d3rlpy's `MDPDataset`, too: `MDPDataset(*data.convert_to_tensors())`.

        Raises:
            InvalidInput: The framework has no tensors of a column's dtype.
        """
        table = self._data.table
        observations, actions = (tuples_of(table[word]) for word in ("observation", "action"))
        return parser.parse_lists(observations, actions, table["reward"], self.terminals, self.timeouts)

    def convert_to_d4rl_format(self) -> dict[str, Any]:
        """`observations actions next_observations rewards terminals timeouts`, as D4RL names them."""
        return self._data.d4rl()

    def convert_to_dataframe(self) -> Any:
        """A pandas data frame, a row a tuple, arrays in cells: `state action reward info terminal timeout episode step`.

        Raises:
            TupliError: pandas is not installed.
        """
        return self._data.dataframe()

    @property
    def _data(self) -> Loaded:
        raise NotImplementedError
