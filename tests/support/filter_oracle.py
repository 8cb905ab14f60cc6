"""What a filter means, in plain Python over plain rows: the oracle that the compiled SQL is compared with."""

import datetime as dt
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from tupli_schemas.filter_tree import (
    BaseFilter,
    Comparison,
    Condition,
    FilterAND,
    FilterBETWEEN,
    FilterEXISTS,
    FilterIN,
    FilterNE,
    FilterNOT,
    FilterOR,
)
from tupli_schemas.ids import id_text, parse_id
from tupli_schemas.paths import split_path

COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "EQ": operator.eq,
    "GT": operator.gt,
    "GEQ": operator.ge,
    "LT": operator.lt,
    "LEQ": operator.le,
}
_ARRAY: Final = re.compile(r"(?P<root>[a-z_]+)(?P<path>(?:\.[^.\[]+)*)(?P<index>(?:\[[^\]]*\])*)")
_SYNONYMS: Final = {"state": "observation", "terminal": "terminated", "timeout": "truncated"}

MISSING: Final = object()
OTHER: Final = object()
"""Something is there that compares with nothing."""


@dataclass
class Episode:
    """An episode as a person would write it down."""

    fields: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)
    published_in: tuple[str, ...] = ()


@dataclass
class Row:
    """A transition. Observations, actions and extras are values by leaf path (`""`, `.position`)."""

    step: int
    observation: dict[str, Any]
    action: dict[str, Any]
    next_observation: dict[str, Any] | None
    reward: float
    terminated: bool
    truncated: bool
    time: int
    info: dict[str, Any]
    extra: dict[str, Any]
    episode: Episode


def tuple_matches(item: BaseFilter, row: Row) -> bool:
    """Whether a tuple filter keeps the row."""
    return _evaluate(item, lambda key: _tuple_value(key, row))


def episode_matches(item: BaseFilter, episode: Episode) -> bool:
    """Whether an episode filter keeps the episode."""
    return _evaluate(item, lambda key: _episode_value(key, episode))


def _evaluate(item: BaseFilter, value_of: Callable[[str], Any]) -> bool:  # noqa: PLR0911 -- one a kind of node
    match item:
        case FilterAND(filters=members):
            return all(_evaluate(one, value_of) for one in members)
        case FilterOR(filters=members):
            return any(_evaluate(one, value_of) for one in members)
        case FilterNOT(filter=member):
            return not _evaluate(member, value_of)
        case FilterEXISTS(key=key):
            value = value_of(key)
            return value is not MISSING and value != set()
        case FilterIN(key=key, value=choices):
            return any(_holds("EQ", value_of(key), choice) for choice in choices)
        case FilterBETWEEN(key=key, low=low, high=high):
            return _holds("GEQ", value_of(key), low) and _holds("LEQ", value_of(key), high)
        case FilterNE(key=key, value=operand):
            return not _holds("EQ", value_of(key), operand)
        case Comparison(key=key, value=operand):
            return _holds(item.type, value_of(key), operand)
        case Condition():
            raise AssertionError(item)
    raise AssertionError(item)


def _holds(kind: str, value: Any, operand: Any) -> bool:
    if isinstance(value, set):
        return operand in value
    if isinstance(value, _Id):
        return value.holds(kind, operand)
    if isinstance(value, _Time):
        return _holds(kind, value.nanoseconds, value.read(operand))
    if isinstance(value, np.generic):
        value = value.item()
    number = isinstance(value, bool | int | float) and isinstance(operand, bool | int | float)
    if number or (isinstance(value, str) and isinstance(operand, str)):
        return COMPARE[kind](value, operand)
    return False


@dataclass(frozen=True)
class _Id:
    text: str

    def holds(self, kind: str, operand: str) -> bool:
        return COMPARE[kind](parse_id(self.text), parse_id(operand))


@dataclass(frozen=True)
class _Time:
    nanoseconds: int

    @staticmethod
    def read(operand: Any) -> Any:
        if not isinstance(operand, str):
            return operand
        moment = dt.datetime.fromisoformat(operand).replace(tzinfo=dt.UTC)
        return round((moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1)) * 1_000


def _tuple_value(key: str, row: Row) -> Any:
    root = re.split(r"[.\[]", key, maxsplit=1)[0]
    rest = key[len(root) :]
    root = _SYNONYMS.get(root, root)
    if root == "episode":
        return _episode_value(rest[1:], row.episode)
    if root == "info":
        return _at_path(rest[1:], row.info)
    if root == "time":
        return _Time(row.time)
    if root in {"reward", "terminated", "truncated", "step"}:
        return getattr(row, root)
    match = _ARRAY.fullmatch(root + rest)
    assert match is not None, key
    leaves = getattr(row, root)
    if leaves is None:
        return MISSING
    is_whole = not rest and "" not in leaves
    value: Any = b"" if is_whole else leaves[match["path"]]
    for group in re.findall(r"\[([^\]]*)\]", match["index"]):
        value = value[tuple(int(i) for i in group.split(","))]
    return OTHER if isinstance(value, bytes) or (isinstance(value, np.ndarray) and value.shape) else value


def _episode_value(key: str, episode: Episode) -> Any:
    if key.startswith("metadata."):
        return _at_path(key.removeprefix("metadata."), episode.metadata)
    if key == "published_in":
        return set(episode.published_in)
    key = "truncated" if key == "timeout" else key
    if key not in episode.fields:
        return _at_path(key, episode.metadata)
    value = episode.fields[key]
    if value is None:
        return MISSING
    if isinstance(value, bytes):
        return _Id(id_text(value))
    return _Time(value) if key.endswith("_at") else value


def _at_path(path: str, values: Mapping[str, Any]) -> Any:
    value: Any = values
    for part in split_path(path):
        if not isinstance(value, Mapping) or part not in value:
            return MISSING
        value = value[part]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return OTHER
    if isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) > 8 * 1_024:
        return OTHER
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        return OTHER  # no UTF-8 says it, so the index has no text for it
    return value if isinstance(value, bool | int | float | str) else OTHER
