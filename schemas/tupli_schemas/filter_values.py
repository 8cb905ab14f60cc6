"""Operands of filters: which values can be compared, and how they travel in JSON.

An operand is a truth value, a whole number, a float or text. JSON has no NaN, no infinity and no large
whole numbers: these travel as `{"$number": "nan"}`, `{"$number": "36893488147419103232"}`.
"""

import datetime as dt
import math
import uuid
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from tupli_schemas.errors import FilterError

Scalar = bool | int | float | str

MAX_TEXT: Final = 64 * 1024
MAX_BITS: Final = 1_024
MAX_CHOICES: Final = 10_000
_PLAIN: Final = 2**53
_NUMBER: Final = "$number"


def check_scalar(value: Any, *, place: str) -> Scalar:
    """The operand as a plain Python value: NumPy scalars, dates and UUIDs become numbers and text.

    Raises:
        FilterError: The value cannot be compared.
    """
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.shape == ()):
        value = value.item()
    if isinstance(value, dt.date):  # a datetime is one
        value = value.isoformat()
    if isinstance(value, uuid.UUID):
        value = str(value)
    if isinstance(value, str) and type(value) is not str:
        value = str.__str__(value)
    if type(value) in (bool, float):
        return value  # type: ignore[no-any-return]  # narrowed by type()
    if isinstance(value, str):
        return _check_text(value, place)
    if isinstance(value, int):
        return _check_whole(int(value), place)
    if isinstance(value, float):
        return float(value)
    hint = "; a missing value is found with ~EXISTS" if value is None else ""
    raise FilterError(
        f"{_shown(value)} cannot be compared: an operand is a number, a truth value, text, a date or a datetime{hint}",
        place=place,
    )


def check_choices(values: Any, *, place: str) -> tuple[Scalar, ...]:
    """The operands of IN.

    Raises:
        FilterError: It is no list, has too many members, or one that cannot be compared.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise FilterError(f"IN takes a list of values, not {_shown(values)}", place=place)
    out = []
    for i, value in enumerate(values):
        if i >= MAX_CHOICES:
            raise FilterError(f"IN takes at most {MAX_CHOICES} values", place=place)
        out.append(check_scalar(value, place=f"{place}[{i}]"))
    return tuple(out)


def scalar_to_json(value: Scalar) -> Any:
    """The operand as JSON that every reader understands the same."""
    if type(value) is float and not math.isfinite(value):
        return {_NUMBER: repr(value)}
    if type(value) is int and abs(value) > _PLAIN:
        return {_NUMBER: str(value)}
    if type(value) is str and not value.isascii():
        return value if _is_unicode(value) else {"$text": value.encode("utf-8", "surrogatepass").hex()}
    return value


def scalar_from_json(value: Any, *, place: str) -> Scalar:
    """The operand of its JSON.

    Raises:
        FilterError: It is none.
    """
    if isinstance(value, dict) and len(value) == 1:
        (tag, text), *_ = value.items()
        try:
            if tag == _NUMBER and isinstance(text, str) and len(text) <= MAX_BITS:
                return check_scalar(_number(text), place=place)
            if tag == "$text" and isinstance(text, str):
                return check_scalar(bytes.fromhex(text).decode("utf-8", "surrogatepass"), place=place)
        except ValueError as error:
            if isinstance(error, FilterError):
                raise
            raise FilterError(f"{_shown(value)} is no operand", place=place) from error
    return check_scalar(value, place=place)


def _number(text: str) -> int | float:
    return float(text) if text in {"nan", "inf", "-inf"} else int(text)


def _is_unicode(text: str) -> bool:
    """Whether the text has no lone surrogates, which JSON cannot carry."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _check_text(value: str, place: str) -> str:
    if len(value) > MAX_TEXT:
        raise FilterError(f"text of {len(value)} characters; the limit is {MAX_TEXT}", place=place)
    return value


def _check_whole(value: int, place: str) -> int:
    if value.bit_length() > MAX_BITS:
        raise FilterError(f"a whole number of more than {MAX_BITS} bits", place=place)
    return value


def _shown(value: Any) -> str:
    """The value, short, for a message; never a surprise of a foreign `__repr__`."""
    if value is None or type(value) in (bool, int, float, str, bytes, list, dict, tuple):
        text = repr(value) if type(value) is not int or value.bit_length() < MAX_BITS else "a large number"
        return text if len(text) <= 80 else f"{text[:77]}..."
    if isinstance(value, np.ndarray):
        return f"an array of shape {list(value.shape)}"
    return f"a {type(value).__name__}"
