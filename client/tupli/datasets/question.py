"""The part of a dataset that asks: filters, order and limits, each change a new dataset."""

from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tupli.datasets.loaded import Loaded
from tupli.datasets.query import Query, check_include, check_limit, check_order
from tupli.errors import InvalidInput
from tupli.models import RLTuple
from tupli_schemas.filter_tree import BaseFilter

if TYPE_CHECKING:
    from tupli.storage.api import TupliAPIClient


class Question:
    """A question to a storage. It is immutable; what was loaded, and the seed of random numbers, are state."""

    def __init__(self, storage: "TupliAPIClient | None" = None, info: dict[str, Any] | None = None) -> None:
        self._storage = storage
        self.info = info
        self._query = Query()
        self._loaded: Loaded | None = None
        self._seed: int | None = None
        self._rng = np.random.default_rng()

    def with_benchmark_filter(self, benchmark_filter: BaseFilter | None) -> Self:
        """Episodes of benchmarks that match; replaces an earlier benchmark filter."""
        return self._with(benchmark=None, benchmark_filter=_checked(benchmark_filter))

    def with_episode_filter(self, episode_filter: BaseFilter | None) -> Self:
        """Episodes that match; replaces an earlier episode filter."""
        return self._with(episode_filter=_checked(episode_filter))

    def with_tuple_filter(self, tuple_filter: BaseFilter | Callable[[RLTuple], bool] | None) -> Self:
        """Tuples that match; replaces an earlier tuple filter.

        The dataset's episodes stay those of the episode filter, also where none of an episode's tuples match.

        A Python function works as well. It runs here, on every tuple of the episodes: everything is fetched, at
        some hundred thousand tuples a second.
        """
        if tuple_filter is not None and not isinstance(tuple_filter, BaseFilter) and callable(tuple_filter):
            return self._with(tuple_filter=None, tuple_predicate=tuple_filter)
        return self._with(tuple_filter=_checked(tuple_filter), tuple_predicate=None)

    def order_by(self, *keys: str) -> Self:
        """Episodes in the order of episode keys, `-key` for the greatest first.

        A name with dots of its own stands in backquotes: "-metadata.`odd.key`".

        Raises:
            InvalidInput: A key is no text. (Which keys there are, the server says when the dataset is read.)
        """
        return self._with(order_by=check_order(keys))

    def limit_episodes(self, count: int | None) -> Self:
        """The first `count` episodes, also those that have no tuple."""
        return self._with(limit_episodes=check_limit(count, "limit_episodes"))

    def limit(self, count: int | None) -> Self:
        """The first `count` tuples."""
        return self._with(limit=check_limit(count, "limit"))

    def including(self, *statuses: str) -> Self:
        """Also episodes of these statuses: `open`, `abandoned`, `incomplete`, `conflict`."""
        return self._with(include=check_include(statuses))

    def with_step_schema(self, name: str) -> Self:
        """Only episodes of the step schema of this id or layout, where a dataset spans several (the error lists them).

        Episodes that differ in their extra facts alone are read together without it.
        """
        return self._with(step_schema=name)

    @property
    def storage(self) -> "TupliAPIClient":
        """Where the dataset is."""
        if self._storage is None:
            from tupli.storage.api import TupliAPIClient  # noqa: PLC0415 -- storages make datasets, too

            self._storage = TupliAPIClient()
        return self._storage

    def set_seed(self, seed: int) -> None:
        """Seed the dataset's own random numbers; nobody else's."""
        self._seed = seed
        self._rng = np.random.default_rng(seed)

    def __repr__(self) -> str:
        query = self._query
        parts = [
            f"{name}={value!r}"
            for name in query.__dataclass_fields__
            if (value := getattr(query, name)) not in (None, ())
        ]
        return f"{type(self).__name__}({', '.join(parts)})"

    def _with(self, **members: Any) -> Self:
        out = copy(self)
        vars(out).update(
            _query=self._query.changed(**members), _loaded=None, _rng=np.random.default_rng(self._seed)
        )
        return out


def _checked(item: object) -> BaseFilter | None:
    if item is None or isinstance(item, BaseFilter):
        return item
    raise InvalidInput(f"{item!r} is no filter: use F(...) or Filter...", place="filter")
