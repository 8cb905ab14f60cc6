"""Values back from their canonical bytes; `values` says what these are."""

import datetime as dt
import math
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from tupli_schemas.errors import ValueCodecError
from tupli_schemas.graphs import GRAPH_TYPE, Graph
from tupli_schemas.values_numpy import (
    DOUBLE,
    PLAIN_TAGS,
    from_base64,
    masked_array,
    plain_untagger,
    untag_array,
    untag_scalar,
)


class Repr(str):
    """What is left of a value that could not be kept: its `repr`. It encodes to the same bytes again."""

    __slots__ = ()


def decode(data: bytes | memoryview) -> Any:
    """The value of its canonical bytes.

    Raises:
        ValueCodecError: They are none.
    """
    try:
        tagged = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueCodecError("not JSON") from error
    return from_tagged(tagged) if b'"$' in bytes(data) else tagged


def from_tagged(tagged: Any) -> Any:
    """The value of its tagged JSON.

    Raises:
        ValueCodecError: It holds a tag that is unknown or whose payload is damaged.
    """
    try:
        return _untag(tagged)
    except ValueCodecError:
        raise
    except (
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:
        raise ValueCodecError(f"not a canonical value ({type(error).__name__})") from error


def _untag(tagged: Any) -> Any:
    if type(tagged) is dict:
        if len(tagged) == 1:
            key = next(iter(tagged))
            if key[:1] == "$":
                return _untagger(key)(tagged[key])
        return {key: _untag(item) for key, item in tagged.items()}
    if type(tagged) is list:
        return [_untag(item) for item in tagged]
    return tagged


def _untagger(tag: str) -> Callable[[Any], Any]:
    found = _UNTAGGERS.get(tag)
    if found is None:
        raise ValueCodecError(f"unknown tag {tag!r}")
    return found


def _untag_float(payload: str) -> float:
    if payload in ("nan", "inf", "-inf"):
        return float(payload)
    (value,) = DOUBLE.unpack(bytes.fromhex(payload))
    return float(value)


def _untag_complex(payload: Any) -> complex:
    real, imag = map(_untag, payload)
    return complex(float(real), float(imag))


def _untag_dict(payload: Any) -> dict[Any, Any]:
    return {_untag(key): _untag(item) for key, item in payload}


def _untag_objects(payload: Any) -> npt.NDArray[Any]:
    shape, items = payload
    if math.prod(shape) != len(items):
        raise ValueCodecError(f"{len(items)} objects for the shape {shape!r}")
    flat = np.empty(len(items), object)
    for i, item in enumerate(items):
        flat[i] = _untag(item)
    return flat.reshape(shape)


def _untag_subclass(payload: Any) -> Any:
    name, tagged = payload
    value = _untag(tagged)
    return Graph(*value) if name == GRAPH_TYPE else value


def untag_text_type(payload: Any) -> Any:
    """A date, time, Decimal or UUID of its name and text."""
    name, text, *fold = payload
    try:
        value = _TEXT_TYPES[name](text)
        return value.replace(fold=fold[0]) if fold else value
    except ArithmeticError as error:
        raise ValueCodecError(f"{text!r} is no {name}") from error


def _as_timedelta(text: str) -> dt.timedelta:
    match = re.fullmatch(r"(?:(-?\d+) days?, )?(\d+):(\d+):(\d+)(?:\.(\d{6}))?", text)
    if match is None:
        raise ValueCodecError(f"{text!r} is no timedelta")
    days, hours, minutes, seconds, micros = (int(part or 0) for part in match.groups())
    return dt.timedelta(days, seconds, micros, minutes=minutes, hours=hours)


_TEXT_TYPES: Final[dict[str, Callable[[str], Any]]] = {
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "timedelta": _as_timedelta,
    "Decimal": Decimal,
    "UUID": uuid.UUID,
}

_UNTAGGERS: Final[dict[str, Callable[[Any], Any]]] = {
    "$f": _untag_float,
    "$i": lambda payload: int(payload, 16),
    "$c": _untag_complex,
    "$s": lambda payload: from_base64(payload).decode("utf-8", "surrogatepass"),
    "$b": from_base64,
    "$ba": lambda payload: bytearray(from_base64(payload)),
    "$t": lambda payload: tuple(map(_untag, payload)),
    "$set": lambda payload: set(map(_untag, payload)),
    "$fset": lambda payload: frozenset(map(_untag, payload)),
    "$d": _untag_dict,
    "$dt": untag_text_type,
    "$nd": untag_array,
    "$np": untag_scalar,
    "$ndo": _untag_objects,
    "$ma": lambda payload: masked_array(*map(_untag, payload)),
    "$mc": lambda _: np.ma.masked,
    "$nu": lambda payload: np.str_(_untag(payload)),
    "$nb": lambda payload: np.bytes_(from_base64(payload)),
    "$as": _untag_subclass,
    "$repr": Repr,
    **{tag: plain_untagger(tag) for tag in PLAIN_TAGS},
}
