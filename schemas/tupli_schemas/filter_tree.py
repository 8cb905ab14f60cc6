"""The nodes of a filter: immutable, typed conditions on keys.

Logic is two-valued. With a missing key or a value of another type every comparison is false, but NE, which is
exactly NOT EQ. True equals 1 as in Python; NaN is as in IEEE 754. A key is text (see `keys`), names in backquotes
read as in `F` (see `paths`); what it means depends on the level (benchmark, episode, tuple) that the filter is used on.

Trees are immutable and within their limits by construction: at most `MAX_DEPTH` deep and `MAX_NODES` large.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, NoReturn

from tupli_schemas.errors import FilterError
from tupli_schemas.filter_values import Scalar, check_choices, check_scalar, scalar_to_json
from tupli_schemas.paths import KeyPath, read_quoted

MAX_DEPTH: Final = 32
MAX_NODES: Final = 1_000
MAX_KEY: Final = 1_024

ADVICE: Final = "combine conditions with & | ~ and use .isin() or .between(), each comparison in parentheses"


class NoTruth:
    """Python's `and`, `or`, `not`, `in` and `a < b < c` ask for a truth value, and would drop a condition."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"a filter has no truth value before it meets data (and, or, not, a < b < c): {ADVICE}"
        )

    def __iter__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be iterated: {ADVICE}")

    def __contains__(self, item: object) -> NoReturn:
        raise TypeError(f"`in` does not work on {type(self).__name__}: {ADVICE}")


class BaseFilter(NoTruth):
    """A condition. Combine with `&`, `|` and `~`."""

    __slots__ = ()

    type: ClassVar[str] = ""

    @property
    def depth(self) -> int:
        """Levels of the tree; 1 for a comparison."""
        return 1

    @property
    def nodes(self) -> int:
        """Conditions in the tree, this one included."""
        return 1

    def __and__(self, other: "BaseFilter") -> "FilterAND":
        """Both."""
        return FilterAND([*_members(self, FilterAND), *_members(other, FilterAND)])

    def __or__(self, other: "BaseFilter") -> "FilterOR":
        """At least one."""
        return FilterOR([*_members(self, FilterOR), *_members(other, FilterOR)])

    def __invert__(self) -> "BaseFilter":
        """The exact complement."""
        return FilterNOT(self)

    def apply_prefix(self, prefix: str) -> "BaseFilter":
        """The same filter with `prefix.` before every key; the original stays as it is."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """The filter as JSON; `filter_json.parse_filter` reads it."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Condition(BaseFilter):
    """A condition on one key, which is a path from then on."""

    key: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", check_key(read_quoted(check_key(self.key))))

    def apply_prefix(self, prefix: str) -> "Condition":
        """The same condition on `prefix.key`."""
        return replace(self, key=KeyPath(f"{read_quoted(prefix)}.{self.key}"))

    def to_json(self) -> dict[str, Any]:
        """The condition as JSON."""
        return {"type": self.type, "key": str(self.key)}


@dataclass(frozen=True, slots=True)
class Comparison(Condition):
    """A key compared with one number, truth value or text."""

    value: Scalar

    def __post_init__(self) -> None:
        Condition.__post_init__(self)
        object.__setattr__(self, "value", check_scalar(self.value, place="value"))

    def to_json(self) -> dict[str, Any]:
        """The condition as JSON."""
        return {"type": self.type, "key": str(self.key), "value": scalar_to_json(self.value)}


class FilterEQ(Comparison):
    """The value of the key equals this one."""

    __slots__ = ()
    type = "EQ"


class FilterNE(Comparison):
    """Exactly NOT EQ: also true when the key is missing or has a value of another type."""

    __slots__ = ()
    type = "NE"


class FilterGT(Comparison):
    """Greater than."""

    __slots__ = ()
    type = "GT"


class FilterGEQ(Comparison):
    """Greater than or equal to."""

    __slots__ = ()
    type = "GEQ"


class FilterLT(Comparison):
    """Less than."""

    __slots__ = ()
    type = "LT"


class FilterLEQ(Comparison):
    """Less than or equal to."""

    __slots__ = ()
    type = "LEQ"


@dataclass(frozen=True, slots=True)
class FilterIN(Condition):
    """The value of the key equals one of these."""

    type: ClassVar[str] = "IN"
    value: Sequence[Scalar]

    def __post_init__(self) -> None:
        Condition.__post_init__(self)
        object.__setattr__(self, "value", check_choices(self.value, place="value"))

    def to_json(self) -> dict[str, Any]:
        """The condition as JSON."""
        return {
            "type": self.type,
            "key": str(self.key),
            "value": [scalar_to_json(item) for item in self.value],
        }


@dataclass(frozen=True, slots=True)
class FilterBETWEEN(Condition):
    """The value of the key is between two others, both included."""

    type: ClassVar[str] = "BETWEEN"
    low: Scalar
    high: Scalar

    def __post_init__(self) -> None:
        Condition.__post_init__(self)
        object.__setattr__(self, "low", check_scalar(self.low, place="value[0]"))
        object.__setattr__(self, "high", check_scalar(self.high, place="value[1]"))
        if isinstance(self.low, str) != isinstance(self.high, str):
            raise FilterError(f"between text and a number: {self.low!r}, {self.high!r}", place="value")

    def to_json(self) -> dict[str, Any]:
        """The condition as JSON."""
        return {
            "type": self.type,
            "key": str(self.key),
            "value": [scalar_to_json(self.low), scalar_to_json(self.high)],
        }


@dataclass(frozen=True, slots=True)
class FilterEXISTS(Condition):
    """The key has a value, of whatever type; also None."""

    type: ClassVar[str] = "EXISTS"


@dataclass(frozen=True, slots=True)
class Group(BaseFilter):
    """Several conditions; at least one."""

    filters: Sequence[BaseFilter]
    _depth: int = field(init=False, repr=False, compare=False, default=0)
    _nodes: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        members = tuple(_checked(item, i) for i, item in enumerate(self.filters))
        if not members:
            raise FilterError(f"{self.type} of no conditions", place="filters")
        object.__setattr__(self, "filters", members)
        object.__setattr__(self, "_depth", 1 + max(item.depth for item in members))
        object.__setattr__(self, "_nodes", 1 + sum(item.nodes for item in members))
        _check_limits(self)

    @property
    def depth(self) -> int:
        """Levels of the tree."""
        return self._depth

    @property
    def nodes(self) -> int:
        """Conditions in the tree, this one included."""
        return self._nodes

    def apply_prefix(self, prefix: str) -> "Group":
        """The same filter with `prefix.` before every key."""
        return type(self)([item.apply_prefix(prefix) for item in self.filters])

    def to_json(self) -> dict[str, Any]:
        """The filter as JSON."""
        return {"type": self.type, "filters": [item.to_json() for item in self.filters]}


class FilterAND(Group):
    """All of `filters` hold."""

    __slots__ = ()
    type = "AND"


class FilterOR(Group):
    """One of `filters` holds."""

    __slots__ = ()
    type = "OR"

    @classmethod
    def from_list(cls, items: Iterable[Any], on_key: str, from_key: str) -> "FilterOR":
        """One EQ on `on_key` for each item, with the item's attribute `from_key` as the value."""
        return cls([FilterEQ(on_key, getattr(item, from_key)) for item in items])


@dataclass(frozen=True, slots=True)
class FilterNOT(BaseFilter):
    """The exact complement of `filter`."""

    type: ClassVar[str] = "NOT"
    filter: BaseFilter

    def __post_init__(self) -> None:
        _checked(self.filter, 0)
        _check_limits(self)

    @property
    def depth(self) -> int:
        """Levels of the tree."""
        return 1 + self.filter.depth

    @property
    def nodes(self) -> int:
        """Conditions in the tree, this one included."""
        return 1 + self.filter.nodes

    def __invert__(self) -> BaseFilter:
        """What was negated."""
        return self.filter

    def apply_prefix(self, prefix: str) -> "FilterNOT":
        """The same filter with `prefix.` before every key."""
        return FilterNOT(self.filter.apply_prefix(prefix))

    def to_json(self) -> dict[str, Any]:
        """The filter as JSON."""
        return {"type": self.type, "filters": [self.filter.to_json()]}


def check_key(key: object) -> str:
    """The key, when it is text.

    Raises:
        FilterError: It is not, or too long.
    """
    if not isinstance(key, str) or not key:
        raise FilterError(f"a key is text like 'reward' or 'info.success', not {key!r}", place="key")
    if len(key) > MAX_KEY:
        raise FilterError(f"a key has at most {MAX_KEY} characters, not {len(key)}", place="key")
    return key


def _members(item: BaseFilter, kind: type[Group]) -> Sequence[BaseFilter]:
    """The conditions of a group of this kind, so that `a & b & c` is one AND.

    Anything else is one condition.
    """
    if not isinstance(item, BaseFilter):
        raise TypeError(f"{item!r} is no condition; {ADVICE}")
    return item.filters if isinstance(item, kind) else (item,)


def _checked(item: object, index: int) -> BaseFilter:
    if not isinstance(item, BaseFilter) or not item.type:
        raise FilterError(f"{item!r} is no condition", place=f"filters[{index}]")
    return item


def _check_limits(item: BaseFilter) -> None:
    if item.depth > MAX_DEPTH:
        raise FilterError(f"is more than {MAX_DEPTH} levels deep", place="filters")
    if item.nodes > MAX_NODES:
        raise FilterError(f"has more than {MAX_NODES} conditions", place="filters")
