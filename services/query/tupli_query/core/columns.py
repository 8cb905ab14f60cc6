"""What a key is in the store: typed expressions that know how to be compared.

Every condition made here is total: it is 0 or 1 for every row, never NULL, and never an error of the engine.
What cannot be absent is compared as it is; what can be has a `guard`, an expression that says whether it is
there.
"""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tupli_query.core.numbers import OPERATORS, Number, compare_float, compare_whole, float_in, whole_in
from tupli_query.core.sql import FALSE, TRUE, Params, conjunction, disjunction
from tupli_schemas.errors import FilterError, InvalidId
from tupli_schemas.filter_values import Scalar
from tupli_schemas.ids import parse_id

INT64: Final = (-(2**63), 2**63 - 1)
UINT64: Final = (0, 2**64 - 1)
INT256: Final = (-(2**255), 2**255 - 1)
BOOL: Final = (0, 1)
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(ABC):
    """A typed expression. `name` is the key in the caller's words."""

    name: str
    guard: str = TRUE

    @abstractmethod
    def compare(self, kind: str, value: Scalar, params: Params, place: str) -> str:
        """The condition `column <kind> value`; kind is EQ, GT, GEQ, LT or LEQ.

        Raises:
            FilterError: Values of this column never compare with this one.
        """

    @abstractmethod
    def among(self, values: Sequence[Scalar], params: Params, place: str) -> str:
        """Whether the column equals one of the values.

        Raises:
            FilterError: Values of this column never compare with one of these.
        """

    def exists(self, params: Params) -> str:  # noqa: ARG002 -- some columns name a path
        """Whether there is a value."""
        return self.guard

    def guarded(self, condition: str) -> str:
        """The condition, where there is a value."""
        return FALSE if condition == FALSE else conjunction((self.guard, condition))


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatColumn(Column):
    """Float64 or Float32; compared as float64."""

    expression: str

    def compare(self, kind: str, value: Scalar, params: Params, place: str) -> str:
        """A comparison of numbers."""
        return self.guarded(compare_float(self.expression, kind, _number(self, value, place), params))

    def among(self, values: Sequence[Scalar], params: Params, place: str) -> str:
        """One of some numbers."""
        return self.guarded(float_in(self.expression, _numbers(self, values, place), params))


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeColumn(Column):
    """Whole numbers within bounds; truth values are 0 and 1."""

    expression: str
    bounds: tuple[int, int]

    def compare(self, kind: str, value: Scalar, params: Params, place: str) -> str:
        """A comparison of numbers."""
        number = _number(self, value, place)
        return self.guarded(compare_whole(self.expression, kind, number, self.bounds, params))

    def among(self, values: Sequence[Scalar], params: Params, place: str) -> str:
        """One of some numbers."""
        return self.guarded(whole_in(self.expression, _numbers(self, values, place), self.bounds, params))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeColumn(Column):
    """Unix nanoseconds; compares with a number of them and with ISO 8601 text (UTC, if it has no offset)."""

    expression: str

    def compare(self, kind: str, value: Scalar, params: Params, place: str) -> str:
        """A comparison of times."""
        moment = _nanoseconds(self, value, place)
        return self.guarded(compare_whole(self.expression, kind, moment, INT64, params))

    def among(self, values: Sequence[Scalar], params: Params, place: str) -> str:
        """One of some times."""
        moments = [_nanoseconds(self, value, f"{place}[{i}]") for i, value in enumerate(values)]
        return self.guarded(whole_in(self.expression, moments, INT64, params))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextColumn(Column):
    """Text; ordered by code points."""

    expression: str

    def compare(self, kind: str, value: Scalar, params: Params, place: str) -> str:
        """A comparison of texts."""
        text = _text(self, value, place)
        return self.guarded(f"{self.expression} {OPERATORS[kind]} {params.text(text)}")

    def among(self, values: Sequence[Scalar], params: Params, place: str) -> str:
        """One of some texts."""
        texts = [_text(self, value, f"{place}[{i}]") for i, value in enumerate(values)]
        return self.guarded(text_in(self.expression, texts, params))


@dataclass(frozen=True, slots=True, kw_only=True)
class IdColumn(Column):
    """An id; equal to the text of an id, or to the name of a subject. Text that is no id equals none."""

    expression: str
    subjects: Mapping[str, bytes]

    def compare(self, kind: str, value: Scalar, params: Params, place: str) -> str:
        """A comparison of ids, which sort by time."""
        found = self._id(_text(self, value, place))
        if found is None and kind != "EQ":
            raise FilterError(f"{self.name} is an id, and {value!r} is none", place=place)
        return FALSE if found is None else f"{self.expression} {OPERATORS[kind]} {params.raw(found)}"

    def among(self, values: Sequence[Scalar], params: Params, place: str) -> str:
        """One of some ids."""
        texts = (_text(self, value, f"{place}[{i}]") for i, value in enumerate(values))
        ids = sorted({found for text in texts if (found := self._id(text)) is not None})
        return f"{self.expression} IN (SELECT arrayJoin({params.ids(ids)}))" if ids else FALSE

    def _id(self, text: str) -> bytes | None:
        if text in self.subjects:
            return self.subjects[text]
        try:
            return parse_id(text)
        except InvalidId:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesColumn(Column):
    """A set of names; equals each of its members."""

    expression: str

    def compare(self, kind: str, value: Scalar, params: Params, place: str) -> str:
        """Membership; there is no order."""
        if kind != "EQ":
            raise FilterError(f"{self.name} is a set of names: use == or IN", place=place)
        return f"has({self.expression}, {params.text(_text(self, value, place))})"

    def among(self, values: Sequence[Scalar], params: Params, place: str) -> str:
        """At least one of some names is a member."""
        texts = [_text(self, value, f"{place}[{i}]") for i, value in enumerate(values)]
        return f"hasAny({self.expression}, {params.texts(texts)})" if texts else FALSE

    def exists(self, params: Params) -> str:  # noqa: ARG002 -- as the others
        """Whether there is a member."""
        return f"notEmpty({self.expression})"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedColumn(Column):
    """A path of an info, of metadata or of extra: the four columns `<prefix>_num, _int, _str, _other`.

    Which type a value has differs from row to row; a value of another type compares as false.
    """

    prefix: str
    path: str

    def compare(self, kind: str, value: Scalar, params: Params, place: str) -> str:  # noqa: ARG002 -- never refuses
        """A comparison with the value at the path, where it has the operand's type."""
        path = params.text(self.path)
        if isinstance(value, str):
            return self._in("str", path, f"{self.prefix}_str[{path}] {OPERATORS[kind]} {params.text(value)}")
        floats = compare_float(f"{self.prefix}_num[{path}]", kind, value, params)
        wholes = compare_whole(f"{self.prefix}_int[{path}]", kind, value, INT64, params)
        return disjunction((self._in("num", path, floats), self._in("int", path, wholes)))

    def among(self, values: Sequence[Scalar], params: Params, place: str) -> str:  # noqa: ARG002 -- never refuses
        """One of some values, each compared with what has its type."""
        path = params.text(self.path)
        numbers = [value for value in values if not isinstance(value, str)]
        texts = [value for value in values if isinstance(value, str)]
        parts = {
            "num": float_in(f"{self.prefix}_num[{path}]", numbers, params),
            "int": whole_in(f"{self.prefix}_int[{path}]", numbers, INT64, params),
            "str": text_in(f"{self.prefix}_str[{path}]", texts, params),
        }
        return disjunction(self._in(name, path, condition) for name, condition in parts.items())

    def exists(self, params: Params) -> str:
        """Whether anything is at the path, also None."""
        path = params.text(self.path)
        maps = [f"mapContains({self.prefix}_{name}, {path})" for name in ("num", "int", "str")]
        return disjunction((*maps, f"has({self.prefix}_other, {path})"))

    def _in(self, name: str, path: str, condition: str) -> str:
        if condition == FALSE:
            return FALSE
        return conjunction((f"mapContains({self.prefix}_{name}, {path})", condition))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaqueColumn(Column):
    """What is there and cannot be compared; `reason` says why."""

    reason: str

    def compare(self, kind: str, value: Scalar, params: Params, place: str) -> str:  # noqa: ARG002 -- as the others
        """Always refused."""
        raise FilterError(self.reason, place=place.rpartition(".")[0] + ".key")

    def among(self, values: Sequence[Scalar], params: Params, place: str) -> str:  # noqa: ARG002 -- as the others
        """Always refused."""
        return self.compare("EQ", "", params, place)


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsentColumn(Column):
    """What these rows do not have, and others of the dataset do: `elsewhere` says what is refused."""

    elsewhere: Column

    def compare(self, kind: str, value: Scalar, params: Params, place: str) -> str:  # noqa: ARG002 -- as the others
        """False, where it is none elsewhere."""
        self.elsewhere.compare(kind, value, Params(), place)
        return FALSE

    def among(self, values: Sequence[Scalar], params: Params, place: str) -> str:  # noqa: ARG002 -- as the others
        """False, where it is none elsewhere."""
        self.elsewhere.among(values, Params(), place)
        return FALSE

    def exists(self, params: Params) -> str:  # noqa: ARG002 -- as the others
        """It does not."""
        return FALSE


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupColumn(Column):
    """An observation or action of several leaves as a whole: it is there, and does not compare."""

    error: FilterError

    def compare(self, kind: str, value: Scalar, params: Params, place: str) -> str:  # noqa: ARG002 -- as the others
        """Always refused."""
        raise self.error

    def among(self, values: Sequence[Scalar], params: Params, place: str) -> str:  # noqa: ARG002 -- as the others
        """Always refused."""
        raise self.error


def text_in(expression: str, values: Sequence[str], params: Params) -> str:
    """Whether a text expression equals one of the values."""
    return f"{expression} IN (SELECT arrayJoin({params.texts(sorted(set(values)))}))" if values else FALSE


def _number(column: Column, value: Scalar, place: str) -> Number:
    if isinstance(value, str):
        raise FilterError(
            f"{column.name} is a number and does not compare with the text {value!r}", place=place
        )
    return value


def _numbers(column: Column, values: Iterable[Scalar], place: str) -> list[Number]:
    return [_number(column, value, f"{place}[{i}]") for i, value in enumerate(values)]


def _text(column: Column, value: Scalar, place: str) -> str:
    if not isinstance(value, str):
        raise FilterError(f"{column.name} is text and does not compare with {value!r}", place=place)
    return value


def _nanoseconds(column: Column, value: Scalar, place: str) -> Number:
    if not isinstance(value, str):
        return value
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError as error:
        raise FilterError(f"{column.name} is a time, and {value!r} is not ISO 8601", place=place) from error
    since = moment.replace(tzinfo=moment.tzinfo or dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * _NS + since.microseconds * 1_000
