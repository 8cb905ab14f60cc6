"""What callers ask, read from JSON: every member is checked, and a wrong one is named."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tupli_query.core.refusals import Refused
from tupli_schemas.errors import ContractError
from tupli_schemas.filter_json import parse_filter
from tupli_schemas.filter_tree import BaseFilter
from tupli_schemas.ids import parse_id
from tupli_schemas.records import Position

WORDS: Final = ("observation", "action", "reward", "terminated", "truncated", "time", "info", "extra")
"""What `columns` may name.

`episode` and `step` always come, `next_observation` is asked for by its own member.
"""
DEFAULT_LIMIT: Final = 1_000
MAX_LIMIT: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodesRequest:
    """Which episodes, in which order. `step_schema` is the id or layout that they must have."""

    benchmark_filter: BaseFilter | None = None
    episode_filter: BaseFilter | None = None
    order_by: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    step_schema: str | None = None
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Where a dataset's stream begins: behind `after` in the order of episodes; the next is number `first`.

    `episode` and `step` name the first row of that page that is due.
    """

    after: str | None
    first: int = 0
    episode: bytes | None = None
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRequest:
    """Which rows of which episodes, and what of them."""

    episodes: EpisodesRequest
    tuple_filter: BaseFilter | None = None
    columns: tuple[str, ...] = WORDS[:5]
    next_observation: bool = False
    limit_episodes: int | None = None
    limit: int | None = None
    resume: Resume | None = None
    pin: tuple[Position, ...] | None = None
    episode_headers: bool = False


_EPISODES: Final = {"benchmark_filter", "episode_filter", "order_by", "include", "step_schema"}
_DATASET: Final = {
    *_EPISODES, "tuple_filter", "columns", "next_observation", "limit_episodes", "limit", "cursor", "position",
    "episode_headers",
}  # fmt: skip


def episodes_request(body: Any) -> EpisodesRequest:
    """The request of `/episodes/list` and `/benchmarks/list`.

    Raises:
        Refused, FilterError: A member is wrong or unknown.
    """
    members = _members(body, {*_EPISODES, "limit", "cursor"})
    return _episodes(members)


def dataset_request(body: Any) -> DatasetRequest:
    """The request of `/datasets/query` and `/datasets/count`.

    Raises:
        Refused, FilterError: A member is wrong or unknown.
    """
    members = _members(body, _DATASET)
    columns = _texts(members, "columns") if members.get("columns") is not None else WORDS[:5]
    for i, word in enumerate(columns):
        if word not in WORDS:
            raise Refused(
                "invalid_request",
                f"{word!r} is no column; there are {', '.join(WORDS)}",
                place=f"columns[{i}]",
            )
    return DatasetRequest(
        episodes=_episodes({k: v for k, v in members.items() if k in _EPISODES}),
        tuple_filter=_filter(members, "tuple_filter"),
        columns=columns,
        next_observation=_boolean(members, "next_observation"),
        limit_episodes=_whole(members, "limit_episodes"),
        limit=_whole(members, "limit"),
        resume=_resume(members.get("cursor")),
        pin=_pin(members.get("position")),
        episode_headers=_boolean(members, "episode_headers"),
    )


def position_json(positions: tuple[Position, ...]) -> list[list[int]]:
    """A pinned position as callers get it and give it back."""
    return [[at.generation, at.partition, at.offset] for at in positions]


def _episodes(members: Mapping[str, Any]) -> EpisodesRequest:
    limit = _whole(members, "limit")
    if limit is not None and limit > MAX_LIMIT:
        raise Refused("invalid_request", f"at most {MAX_LIMIT}", place="limit")
    return EpisodesRequest(
        benchmark_filter=_filter(members, "benchmark_filter"),
        episode_filter=_filter(members, "episode_filter"),
        order_by=_texts(members, "order_by"),
        include=_texts(members, "include"),
        step_schema=_text(members, "step_schema"),
        limit=DEFAULT_LIMIT if limit is None else limit,
        cursor=_text(members, "cursor"),
    )


def _members(body: Any, known: set[str]) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Refused("invalid_request", "the body is not a JSON object")
    for name in body:
        if name not in known:
            raise Refused("invalid_request", f"unknown; there are {', '.join(sorted(known))}", place=name)
    return body


def _filter(members: Mapping[str, Any], name: str) -> BaseFilter | None:
    value = members.get(name)
    return None if value is None or value == {} else parse_filter(value, place=name)


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused("invalid_request", "is not a text", place=name)
    return value


def _texts(members: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = members.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or len(value) > 64:
        raise Refused("invalid_request", "is not a list of at most 64 texts", place=name)
    return tuple(value)


def _whole(members: Mapping[str, Any], name: str) -> int | None:
    value = members.get(name)
    if value is not None and (type(value) is not int or not 0 <= value < 2**63):
        raise Refused("invalid_request", "is not a whole number from 0", place=name)
    return value


def _boolean(members: Mapping[str, Any], name: str) -> bool:
    value = members.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refused("invalid_request", "is neither true nor false", place=name)
    return bool(value)


def _resume(data: Any) -> Resume | None:
    if data is None:
        return None
    if not isinstance(data, dict):
        raise Refused("invalid_request", "is no cursor of this service", place="cursor")
    episode = _text(data, "episode")
    try:
        return Resume(
            after=_text(data, "after"),
            first=_whole(data, "first") or 0,
            episode=None if episode is None else parse_id(episode),
            step=_whole(data, "step") or 0,
        )
    except (Refused, ContractError) as error:
        raise Refused("invalid_request", "is no cursor of this service", place="cursor") from error


def _pin(data: Any) -> tuple[Position, ...] | None:
    if data is None:
        return None
    if not isinstance(data, list) or len(data) > 4_096 or not all(map(_is_position, data)):
        raise Refused("invalid_request", "is no position of this service", place="position")
    return tuple(Position(generation, partition, offset) for generation, partition, offset in data)


def _is_position(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 3 and all(type(n) is int and 0 <= n < 2**63 for n in row)
