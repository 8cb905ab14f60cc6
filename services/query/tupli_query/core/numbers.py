"""Exact comparisons of a number in a column with a number in a filter, as Python would compare them.

A column of whole numbers has bounds, a column of floats has gaps. The operand is moved to the nearest value
that the column can hold, and the operator with it; what the column can never say is the constant 0 or 1.
"""

import math
from collections.abc import Iterable
from typing import Final

from tupli_query.core.sql import FALSE, TRUE, Params, disjunction

OPERATORS: Final = {"EQ": "=", "GT": ">", "GEQ": ">=", "LT": "<", "LEQ": "<="}

Number = bool | int | float


def compare_float(expression: str, kind: str, value: Number, params: Params) -> str:
    """A condition on a Float64 or Float32 expression; false for NaN."""
    if value != value:  # noqa: PLR0124 -- NaN
        return FALSE
    near = _nearest(value)
    if near == value:
        return f"{expression} {OPERATORS[kind]} {params.number(near + 0.0)}"
    if kind == "EQ":
        return FALSE
    # No float lies between the operand and `near`, so either operator turns on `near` alone.
    above = near > value
    operator = ("<" if above else "<=") if kind in {"LT", "LEQ"} else (">=" if above else ">")
    return f"{expression} {operator} {params.number(near)}"


def compare_whole(expression: str, kind: str, value: Number, bounds: tuple[int, int], params: Params) -> str:
    """A condition on an expression of whole numbers within `bounds`."""
    if value != value:  # noqa: PLR0124 -- NaN
        return FALSE
    low, high = bounds
    if value < low:
        return TRUE if kind in {"GT", "GEQ"} else FALSE
    if value > high:
        return TRUE if kind in {"LT", "LEQ"} else FALSE
    whole = math.floor(value)
    if whole != value:
        if kind == "EQ":
            return FALSE
        kind = "LEQ" if kind in {"LT", "LEQ"} else "GT"
    return f"{expression} {OPERATORS[kind]} {params.whole(whole)}"


def float_in(expression: str, values: Iterable[Number], params: Params) -> str:
    """Whether a Float64 or Float32 expression equals one of the values."""
    exact = {near for value in values if value == value and (near := _nearest(value)) == value}  # noqa: PLR0124 -- NaN
    parts = [f"{expression} IN {params.numbers(sorted(exact - {0.0}), 'Float64')}"] if exact - {0.0} else []
    if 0.0 in exact:
        # The engine's sets tell 0.0 from -0.0.
        parts.append(f"{expression} = {params.number(0.0)}")
    return disjunction(parts)


def whole_in(expression: str, values: Iterable[Number], bounds: tuple[int, int], params: Params) -> str:
    """Whether an expression of whole numbers within `bounds` equals one of the values."""
    low, high = bounds
    kept = {int(value) for value in values if low <= value <= high and value == math.floor(value)}
    small = sorted(value for value in kept if value < 2**63)
    large = sorted(value for value in kept if value >= 2**63)
    groups = ((small, "Int64"), (large, "UInt64" if high < 2**64 else "Int256"))
    return disjunction(f"{expression} IN {params.numbers(group, kind)}" for group, kind in groups if group)


def _nearest(value: Number) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
