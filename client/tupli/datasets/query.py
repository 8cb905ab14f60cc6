"""The question that a dataset is: immutable, and turned into a request when somebody wants rows."""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Final

from tupli.errors import InvalidInput
from tupli.models import RLTuple
from tupli_schemas.filter_tree import BaseFilter, FilterAND, FilterEQ
from tupli_schemas.paths import read_quoted

TuplePredicate = Callable[[RLTuple], bool]
STATUSES: Final = ("open", "terminated", "truncated", "aborted", "incomplete", "conflict", "abandoned")


@dataclass(frozen=True)
class Query:
    """Filters, order and limits. `tuple_predicate` runs on the client, everything else on the server.

    `benchmark` is the name behind `benchmark_filter`, where one was given: then there has to be such a benchmark.
    """

    benchmark: str | None = None
    benchmark_filter: BaseFilter | None = None
    episode_filter: BaseFilter | None = None
    tuple_filter: BaseFilter | None = None
    tuple_predicate: TuplePredicate | None = None
    order_by: tuple[str, ...] = ()
    limit_episodes: int | None = None
    limit: int | None = None
    include: tuple[str, ...] = ()
    step_schema: str | None = None

    def changed(self, **members: Any) -> "Query":
        """The query with other members."""
        return replace(self, **members)

    def episodes_request(self) -> dict[str, Any]:
        """What chooses episodes."""
        out: dict[str, Any] = {
            "benchmark_filter": _json(self.benchmark_filter),
            "episode_filter": _json(self.episode_filter),
            "order_by": list(self.order_by) or None,
            "include": list(self.include) or None,
            "step_schema": self.step_schema,
        }
        return {name: value for name, value in out.items() if value is not None}

    def request(self, words: Iterable[str], *, headers: bool = False) -> dict[str, Any]:
        """The question for rows with the columns of `words`."""
        wanted = [word for word in words if word not in {"next_observation", "episode", "step"}]
        out = self.episodes_request() | {
            "tuple_filter": _json(self.tuple_filter),
            "limit_episodes": self.limit_episodes,
            "limit": self.limit if self.tuple_predicate is None else None,
            "columns": wanted,
            "next_observation": "next_observation" in words,
            "episode_headers": headers or None,
        }
        return {name: value for name, value in out.items() if value is not None}


def named_benchmark(name: str) -> BaseFilter:
    """The benchmark of an id, an `owner/name`, or a name of the caller's own.

    Raises:
        InvalidInput: The name is empty.
    """
    if not name:
        raise InvalidInput("a benchmark has a name", place="benchmark")
    try:
        return FilterEQ(key="id", value=str(uuid.UUID(name)))
    except ValueError:
        pass
    owner, slash, rest = name.partition("/")
    if not slash:
        owner, rest = "me", name
    return FilterAND(filters=(FilterEQ(key="owner", value=owner), FilterEQ(key="name", value=rest)))


def check_include(statuses: Iterable[str]) -> tuple[str, ...]:
    """Statuses beside those of ended and aborted episodes.

    Raises:
        InvalidInput: One of them does not exist.
    """
    out = (statuses,) if isinstance(statuses, str) else tuple(statuses)
    for status in out:
        if status not in STATUSES:
            raise InvalidInput(f"{status!r} is no status; there are {', '.join(STATUSES)}", place="include")
    return out


def check_order(keys: Iterable[str]) -> tuple[str, ...]:
    """Keys of an order, as the server reads them.

    Raises:
        InvalidInput: One of them is no text.
    """
    out = tuple(keys)
    for index, key in enumerate(out):
        if not isinstance(key, str):
            raise InvalidInput(f"{key!r} is no key like `-return`", place=f"order_by[{index}]")
    return tuple(map(read_quoted, out))


def check_limit(value: int | None, place: str) -> int | None:
    """A limit of at least 0, or none.

    Raises:
        InvalidInput: It is negative, or no whole number.
    """
    if value is not None and (not _is_whole(value) or value < 0):
        raise InvalidInput(f"{value!r} is not a number of rows", place=place)
    return value


def check_batch_size(rows: Any) -> int:
    """Rows of a batch, at least one.

    Raises:
        InvalidInput: There are none, or it is no whole number.
    """
    if not _is_whole(rows) or rows < 1:
        raise InvalidInput(f"{rows!r} rows are no batch", place="batch_size")
    return int(rows)


def _is_whole(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral)


def _json(item: BaseFilter | None) -> Any:
    return None if item is None else item.to_json()
