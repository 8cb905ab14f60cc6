"""The JSON form of filters, that of PyTupli 1.2 with three more types.

{"type": "EQ", "key": "status", "value": "terminated"}         also NE GT GEQ LT LEQ
{"type": "IN", "key": "policy", "value": ["ppo", "random"]}
{"type": "BETWEEN", "key": "observation[2]", "value": [-0.1, 0.1]}
{"type": "EXISTS", "key": "info.success"}
{"type": "AND", "filters": [...]}   {"type": "OR", "filters": [...]}   {"type": "NOT", "filters": [one]}

Keys are paths here (`info.TimeLimit%2Etruncated`): a backquote is a letter, never the sign of a quoted name.
"""

from typing import Any, Final

from tupli_schemas.errors import FilterError
from tupli_schemas.filter_tree import (
    MAX_DEPTH,
    MAX_NODES,
    BaseFilter,
    FilterAND,
    FilterBETWEEN,
    FilterEQ,
    FilterEXISTS,
    FilterGEQ,
    FilterGT,
    FilterIN,
    FilterLEQ,
    FilterLT,
    FilterNE,
    FilterNOT,
    FilterOR,
)
from tupli_schemas.filter_values import scalar_from_json
from tupli_schemas.paths import KeyPath

_COMPARISONS: Final = {
    kind.type: kind for kind in (FilterEQ, FilterNE, FilterGT, FilterGEQ, FilterLT, FilterLEQ)
}
_KEYED: Final = {*_COMPARISONS, "IN", "BETWEEN", "EXISTS"}
_GROUPS: Final = {"AND": FilterAND, "OR": FilterOR}
TYPES: Final = (*sorted(_KEYED), "AND", "OR", "NOT")


def parse_filter(data: Any, *, place: str = "filter") -> BaseFilter:
    """The filter of its JSON.

    Args:
        data: Decoded JSON.
        place: How the caller calls the filter, the beginning of the place in an error.

    Raises:
        FilterError: The JSON is no filter; the error's place is like `tuple_filter.filters[2].key`.
    """
    return _Parser().read(data, place, 1)


class _Parser:
    """Counts the conditions on the way, so that a large tree is refused before it is built."""

    def __init__(self) -> None:
        self._nodes = 0

    def read(self, data: Any, place: str, depth: int) -> BaseFilter:
        self._nodes += 1
        if depth > MAX_DEPTH:
            raise FilterError(f"is more than {MAX_DEPTH} levels deep", place=place)
        if self._nodes > MAX_NODES:
            raise FilterError(f"the filter has more than {MAX_NODES} conditions", place=place)
        if not isinstance(data, dict):
            raise FilterError("a filter is an object with `type`", place=place)
        kind = data.get("type")
        if not isinstance(kind, str) or kind not in TYPES:
            raise FilterError(
                f"{str(kind)[:40]!r} is no type of filter; known: {', '.join(TYPES)}", place=f"{place}.type"
            )
        _refuse_strangers(data, kind, place)
        return self._keyed(data, kind, place) if kind in _KEYED else self._group(data, kind, place, depth)

    def _group(self, data: dict[str, Any], kind: str, place: str, depth: int) -> BaseFilter:
        members = data.get("filters")
        if not isinstance(members, list) or not members:
            raise FilterError(f"{kind} takes a list of at least one condition", place=f"{place}.filters")
        if kind == "NOT" and len(members) != 1:
            raise FilterError("NOT takes one condition", place=f"{place}.filters")
        read = [self.read(item, f"{place}.filters[{i}]", depth + 1) for i, item in enumerate(members)]
        return FilterNOT(read[0]) if kind == "NOT" else _GROUPS[kind](read)

    def _keyed(self, data: dict[str, Any], kind: str, place: str) -> BaseFilter:
        key = data.get("key")
        if not isinstance(key, str):
            raise FilterError(f"{kind} takes a key, which is text", place=f"{place}.key")
        key = KeyPath(key)
        try:
            if kind == "EXISTS":
                return FilterEXISTS(key)
            return _with_value(kind, key, data.get("value"))
        except FilterError as error:
            raise FilterError(error.reason, place=f"{place}.{error.place}") from error


def _with_value(kind: str, key: str, value: Any) -> BaseFilter:
    if kind in _COMPARISONS:
        return _COMPARISONS[kind](key, scalar_from_json(value, place="value"))
    if not isinstance(value, list):
        raise FilterError(f"{kind} takes a list of values", place="value")
    if kind == "IN":
        return FilterIN(key, _Choices(value))  # type: ignore[arg-type]  # decoded one by one, within the limit
    if len(value) != 2:
        raise FilterError(f"BETWEEN takes two values, not {len(value)}", place="value")
    low, high = (scalar_from_json(item, place=f"value[{i}]") for i, item in enumerate(value))
    return FilterBETWEEN(key, low, high)


class _Choices:
    """The operands of IN, decoded while they are read."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __iter__(self) -> Any:
        for i, value in enumerate(self._values):
            yield scalar_from_json(value, place=f"value[{i}]")


def _refuse_strangers(data: dict[str, Any], kind: str, place: str) -> None:
    """A member that is not read would be a condition dropped in silence.

    Nulls are PyTupli's empty members.
    """
    wanted = (
        {"type", "filters"}
        if kind not in _KEYED
        else {"type", "key"} | ({"value"} - ({"value"} if kind == "EXISTS" else set()))
    )
    for name, value in data.items():
        if name not in wanted and value not in (None, []):
            raise FilterError(f"{kind} has no member {str(name)[:40]!r}", place=place)
