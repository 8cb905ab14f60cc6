"""Orders of listings, and cursors: where the next page starts.

An order is a list of keys and ends with the id, so that it is total. Each key becomes one or two expressions
that are never NULL and never NaN: a rank (values first, then NaN, then nothing: in either direction) and a
value. A cursor holds the values of the last row under these expressions; the next page is what is greater.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tupli_query.core.columns import (
    Column,
    FloatColumn,
    IdColumn,
    IndexedColumn,
    TextColumn,
    TimeColumn,
    WholeColumn,
)
from tupli_query.core.errors import BadCursor, BadOrder
from tupli_query.core.sql import TRUE, Params
from tupli_schemas.errors import FilterError

MAX_KEYS: Final = 8
MAX_CURSOR: Final = 256 * 1024
"""Eight texts of 8 KiB, the longest that are indexed, in hexadecimal digits and base64."""


@dataclass(frozen=True, slots=True)
class Term:
    """One expression of an order. `kind` is `float`, `whole`, `text` or `id`."""

    expression: str
    kind: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """The values of a row under the terms of an order, and what the caller wants to find again in `more`."""

    values: tuple[Any, ...]
    more: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """A total order."""

    terms: tuple[Term, ...]

    @property
    def columns(self) -> str:
        """`... AS k0, ... AS k1`: what a row must carry for `cursor_of`."""
        return ", ".join(f"{term.expression} AS k{i}" for i, term in enumerate(self.terms))

    @property
    def clause(self) -> str:
        """`ORDER BY ...`."""
        items = (f"k{i}{' DESC' if term.descending else ''}" for i, term in enumerate(self.terms))
        return f"ORDER BY {', '.join(items)}"

    def cursor_of(self, row: Mapping[str, Any], **more: Any) -> str:
        """The cursor behind a row of a listing; `more` comes back from `read_cursor`."""
        values = [_to_json(term, row[f"k{i}"]) for i, term in enumerate(self.terms)]
        raw = orjson.dumps({"o": self._name, "v": values, "m": more})
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def read_cursor(self, text: str) -> Cursor:
        """The cursor of its text.

        Raises:
            BadCursor: It was not given out for this order.
        """
        try:
            if len(text) > MAX_CURSOR:
                raise BadCursor("is too long", place="cursor")
            data = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if data["o"] != self._name or len(data["v"]) != len(self.terms):
                raise BadCursor("belongs to another order", place="cursor")
            values = tuple(_from_json(term, value) for term, value in zip(self.terms, data["v"], strict=True))
            return Cursor(values, dict(data["m"]))
        except (
            binascii.Error,
            orjson.JSONDecodeError,
            KeyError,
            TypeError,
            AttributeError,
            ValueError,
        ) as error:
            if isinstance(error, BadCursor):
                raise
            raise BadCursor("is no cursor of this service", place="cursor") from error

    def behind(self, cursor: Cursor, params: Params, *, inclusive: bool) -> str:
        """The condition that a row comes behind the cursor's (or is it)."""
        condition = TRUE if inclusive else "0"
        for i, (term, value) in reversed(list(enumerate(zip(self.terms, cursor.values, strict=True)))):
            bound = _param(term, value, params)
            operator = "<" if term.descending else ">"
            condition = f"(k{i} {operator} {bound} OR (k{i} = {bound} AND {condition}))"
        return condition

    @property
    def _name(self) -> str:
        return hashlib.sha256(repr(self.terms).encode()).hexdigest()[:12]


def order_of(columns: Sequence[tuple[Column, bool]], tie_breakers: Sequence[str]) -> Order:
    """The order by these columns (and whether descending), then by ids.

    Raises:
        BadOrder: A column has no order, or there are too many.
    """
    if len(columns) > MAX_KEYS:
        raise BadOrder(f"an order has at most {MAX_KEYS} keys", place="order_by")
    terms = [
        term for i, (column, down) in enumerate(columns) for term in _terms(column, down, f"order_by[{i}]")
    ]
    return Order((*terms, *(Term(name, "id") for name in tie_breakers)))


def split_direction(text: Any, place: str) -> tuple[str, bool]:
    """`-return` is `return`, descending.

    Raises:
        BadOrder: It is no text.
    """
    if not isinstance(text, str) or not text.lstrip("-"):
        raise BadOrder("an order is a list of keys like `-return`", place=place)
    return (text[1:], True) if text[0] == "-" else (text, False)


def _terms(column: Column, down: bool, place: str) -> list[Term]:  # noqa: FBT001 -- private
    match column:
        case FloatColumn(expression=expression, guard=guard):
            rank = f"multiIf(NOT ({guard}), 2, isNaN({expression}), 1, 0)"
            return [Term(rank, "whole"), Term(_value(rank, expression, "0.0"), "float", down)]
        case WholeColumn(expression=expression, guard=guard) | TimeColumn(expression=expression, guard=guard):
            return _guarded_terms(expression, guard, ("whole", "0"), down)
        case TextColumn(expression=expression, guard=guard):
            return _guarded_terms(expression, guard, ("text", "''"), down)
        case IdColumn(expression=expression):
            return [Term(expression, "id", down)]
        case IndexedColumn():
            return _indexed_terms(column, down)
    raise BadOrder(f"{column.name} has no order", place=place)


def _guarded_terms(expression: str, guard: str, kind: tuple[str, str], down: bool) -> list[Term]:  # noqa: FBT001 -- private
    name, default = kind
    if guard == TRUE:
        return [Term(expression, name, down)]
    return [Term(f"if({guard}, 0, 2)", "whole"), Term(f"if({guard}, {expression}, {default})", name, down)]


def _indexed_terms(column: IndexedColumn, down: bool) -> list[Term]:  # noqa: FBT001 -- private
    """Numbers first (compared as float64), then NaN, then text, then everything else."""
    # The path is a hexadecimal literal: an order's text must not depend on the parameters of a statement.
    path = f"unhex('{column.path.encode('utf-8', 'surrogatepass').hex()}')"
    num, whole, text = (f"{column.prefix}_{name}" for name in ("num", "int", "str"))
    number = f"if(mapContains({num}, {path}), {num}[{path}], toFloat64({whole}[{path}]))"
    rank = (
        f"multiIf(isNaN({number}), 1, mapContains({num}, {path}) OR mapContains({whole}, {path}), 0, "
        f"mapContains({text}, {path}), 2, 3)"
    )
    return [
        Term(rank, "whole"),
        Term(_value(rank, number, "0.0"), "float", down),
        Term(f"{text}[{path}]", "text", down),
    ]


def _value(rank: str, expression: str, default: str) -> str:
    """The value where the rank is 0.

    Sorting tells -0.0 from 0.0 and comparing does not: there is only one here.
    """
    return f"if({rank} != 0 OR {expression} = 0, {default}, {expression})"


def _to_json(term: Term, value: Any) -> Any:
    if term.kind in {"id", "text"}:
        raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)
        return raw.hex()
    if isinstance(value, bytes):
        # Arrow has no 256-bit numbers; the engine gives their bytes.
        value = int.from_bytes(value, "little", signed=True)
    return repr(float(value)) if term.kind == "float" else str(int(value))


def _from_json(term: Term, value: Any) -> Any:
    if not isinstance(value, str):
        raise FilterError("not a text")
    if term.kind in {"id", "text"}:
        return bytes.fromhex(value)
    return float(value) if term.kind == "float" else int(value)


def _param(term: Term, value: Any, params: Params) -> str:
    if term.kind in {"id", "text"}:
        return params.raw(value)
    return params.number(value) if term.kind == "float" else params.whole(value)
