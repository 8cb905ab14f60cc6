"""Values of any structure as canonical bytes, and back: infos, options, metadata.

Plain JSON values are plain JSON (`{"a":1,"b":2.5}`), in the order of their keys. Everything else is an object
of one member whose key starts with `$`:

    {"$f": "nan" | "inf" | "-inf" | 16 hex digits}   a float that JSON has no number for
    {"$i": "0x..."}   an integer outside -2^63..2^64-1         {"$c": [re, im]}  complex
    {"$s": base64}    a string with lone surrogates        {"$b": base64}  bytes  {"$ba": base64}  bytearray
    {"$t": [...]}     a tuple                                  {"$set": [...]}  {"$fset": [...]}  sets
    {"$d": [[key, value], ...]}   a dict with a key that is no string, starts with `$` or has lone surrogates
    {"$dt": ["datetime", text]}   dates, times, Decimal and UUID by their text; a third item is `fold`
    {"$nd": ...}  {"$f4": ...}    NumPy, see `values_numpy`;   {"$ndo": [shape, [...]]}  an array of objects
    {"$ma": [array, mask, fill]}  a masked array: its data (also behind the mask); mask and fill value, or null
    {"$mc": null}     `numpy.ma.masked`, which an element behind a mask is
    {"$as": [type, value]}        the value of a subclass or an array of another library; decodes to the value,
                                  and a graph (Gymnasium's `GraphInstance`) to `Graph`
    {"$repr": text}               anything else; decodes to `Repr`

Only the last two lose something, and `lossy` lists where. The same value always has the same bytes; dicts
that differ in the order of their keys have different bytes.
"""

import datetime as dt
import enum
import math
import re
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from tupli_schemas.graphs import GRAPH_TYPE, Graph
from tupli_schemas.values_numpy import (
    DOUBLE,
    PLAIN_SCALARS,
    masked_array,
    masked_parts,
    plain_tagger,
    tag_array,
    tag_scalar,
    to_base64,
)
from tupli_schemas.values_read import Repr, decode, from_tagged, untag_text_type

__all__ = ["MAX_DEPTH", "Repr", "decode", "encode", "from_tagged", "lossy", "lossy_places", "to_tagged"]

MAX_DEPTH: Final = 48
"""Containers nested deeper become `$repr`; orjson writes 254 levels, and one of ours takes up to five."""
MAX_REPR: Final = 8_192

_PLAIN_TYPES: Final = frozenset((str, int, float, bool, type(None)))
_are_plain: Final = _PLAIN_TYPES.issuperset
_FEW: Final = 8
"""Up to so many values a loop costs less than what a call of `map` begins with."""
_dumps: Final = orjson.dumps
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def encode(value: Any) -> bytes:
    """The canonical bytes of any value. Never raises; see `lossy` for what it could not keep."""
    # A flat dict of plain values is nearly every info, and paid for at every step: no call that can be left
    # out.
    if type(value) is dict:
        if not value:
            return b"{}"
        try:
            if len(value) > _FEW:
                is_plain = _are_plain(map(type, value.values()))
            else:
                is_plain = True
                for item in value.values():
                    if type(item) not in _PLAIN_TYPES:
                        is_plain = False
                        break
            if is_plain:
                raw = _dumps(value)
                # `null` is None, but NaN and infinity too; `"$` a key or a string that starts with the mark
                # of tags. (As text, because bytes are searched in twice the time; for `$` alone first, which
                # takes no time.)
                text = raw.decode()
                if "null" not in text and ("$" not in text or '"$' not in text):
                    return raw
        except (TypeError, RuntimeError):  # a key that is no string, an integer too large; changed meanwhile
            return orjson.dumps(to_tagged(value))
    return orjson.dumps(to_tagged(value))


def to_tagged(value: Any) -> Any:
    """The value as an object that any JSON writer can write. Never raises."""
    try:
        return _tag(value, 0)
    except Exception as error:  # noqa: BLE001 -- users' objects may raise anything, and containers may change meanwhile
        return {"$repr": f"<{type(value).__name__} that cannot be encoded: {type(error).__name__}>"}


def lossy(value: Any) -> list[str]:
    """The paths (`a.b[0]`, empty for the whole) of what `encode` cannot keep exactly."""
    return list(lossy_places(to_tagged(value)))


def lossy_places(tagged: Any, path: str = "") -> Iterator[str]:
    """The paths of `$repr` and `$as` in tagged JSON."""
    if isinstance(tagged, list):
        for i, item in enumerate(tagged):
            yield from lossy_places(item, f"{path}[{i}]")
    elif isinstance(tagged, dict):
        if "$as" in tagged and tagged["$as"][0] == GRAPH_TYPE:
            yield from lossy_places(tagged["$as"][1], path)
        elif "$repr" in tagged or "$as" in tagged:
            yield path
        elif "$d" in tagged:
            for key, item in tagged["$d"]:
                yield from lossy_places(key, f"{path}[{key!r}]")
                yield from lossy_places(item, f"{path}[{key!r}]")
        else:
            for key, item in tagged.items():
                inner = path if key.startswith("$") else f"{path}.{key}" if path else key
                yield from lossy_places(item, inner)


def _tag(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is bool or value is None:
        return value
    tagger = _TAGGERS.get(kind)
    return tagger(value, depth) if tagger is not None else _tag_subclass(value, depth)


def _tag_float(value: float, _: int) -> Any:
    if math.isfinite(value):
        return value
    raw = DOUBLE.pack(value)
    text = repr(value)
    return {"$f": text if raw == DOUBLE.pack(float(text)) else raw.hex()}


def _tag_int(value: int, _: int) -> Any:
    return value if -(2**63) <= value < 2**64 else {"$i": hex(value)}


def _tag_str(value: str, _: int) -> Any:
    return value if _is_unicode(value) else {"$s": to_base64(value.encode("utf-8", "surrogatepass"))}


def _tag_dict(value: dict[Any, Any], depth: int) -> Any:
    if depth >= MAX_DEPTH:
        return _tag_repr(value)
    out: dict[str, Any] = {}
    for key, item in value.items():
        if type(key) is not str or key[:1] == "$" or not (key.isascii() or _is_unicode(key)):
            return {"$d": [[_tag(k, depth + 1), _tag(v, depth + 1)] for k, v in value.items()]}
        tagger = _TAGGERS.get(type(item))
        out[key] = tagger(item, depth + 1) if tagger is not None else _tag(item, depth + 1)
    return out


def _tag_items(value: Any, depth: int) -> Any:
    return [_tag(item, depth + 1) for item in value] if depth < MAX_DEPTH else _tag_repr(value)


def _tag_tuple(value: tuple[Any, ...], depth: int) -> Any:
    return {"$t": _tag_items(value, depth)} if depth < MAX_DEPTH else _tag_repr(value)


def _tag_set(name: str) -> Callable[[Any, int], Any]:
    def tag(value: Any, depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return _tag_repr(value)
        return {name: sorted((_tag(item, depth + 1) for item in value), key=orjson.dumps)}

    return tag


def _tag_array(value: npt.NDArray[Any], depth: int) -> Any:
    tagged = tag_array(value)
    if tagged is not None:
        return tagged
    if value.dtype.kind not in "OT" or depth >= MAX_DEPTH:
        return _tag_repr(value)
    return {"$ndo": [list(value.shape), [_tag(item, depth + 1) for item in value.ravel().tolist()]]}


def _tag_masked(value: Any, depth: int) -> Any:
    parts = [None if part is None else _tag_array(part, depth) for part in masked_parts(value)]
    return _tag_repr(value) if any(part is not None and "$repr" in part for part in parts) else {"$ma": parts}


def _tag_text_type(value: Any, _: int) -> Any:
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    payload = [type(value).__name__, text, *([1] if getattr(value, "fold", 0) else [])]
    # Two datetimes of one moment are equal in any zone; their repr is not.
    return {"$dt": payload} if repr(untag_text_type(payload)) == repr(value) else _tag_repr(value)


def _tag_subclass(value: Any, depth: int) -> Any:
    """A value of a type that is not known as such: by what it is derived from, or offers."""
    kind = type(value)
    name = GRAPH_TYPE if kind is Graph else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, np.memmap):
        return _tag_array(np.asarray(value), depth)
    if depth >= MAX_DEPTH:
        return _tag_repr(value)
    if isinstance(value, enum.Enum):
        return {"$as": [name, _tag(value.value, depth + 1)]}
    if isinstance(value, np.generic):
        tagged = tag_scalar(value)
        return tagged if tagged is not None else _tag_repr(value)
    try:
        plain = _plain_base(value)
    except Exception:  # noqa: BLE001 -- the class is the user's; what stands beside the value is kept
        plain = None
    return _tag_repr(value) if plain is None else {"$as": [name, _tag(plain, depth)]}


def _plain_base(value: Any) -> Any:
    """The value as the type that its own is derived from, or as an array; None when it is neither."""
    for base, plain in _BASES:
        if isinstance(value, base):
            return plain(value)
    if hasattr(type(value), "__array__"):
        try:
            array = np.asarray(value)
        except Exception:  # noqa: BLE001 -- __array__ is the user's code; a tensor may be on another device, or want gradients
            return None
        return array if array.dtype.kind != "O" else None
    return None


def _tag_repr(value: Any) -> Any:
    """The text of a value, without memory addresses, so that the same run has the same bytes."""
    try:
        text = value if type(value) is Repr else _ADDRESS.sub("", repr(value))
    except Exception as error:  # noqa: BLE001 -- __repr__ is the user's code
        text = f"<{type(value).__name__} without repr: {type(error).__name__}>"
    return {"$repr": text[:MAX_REPR].encode("utf-8", "backslashreplace").decode()}


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_TAGGERS: Final[dict[type[Any], Callable[[Any, int], Any]]] = {
    str: _tag_str,
    float: _tag_float,
    int: _tag_int,
    dict: _tag_dict,
    list: _tag_items,
    tuple: _tag_tuple,
    np.ndarray: _tag_array,
    np.ma.MaskedArray: _tag_masked,
    type(np.ma.masked): lambda _, __: {"$mc": None},
    **{kind: plain_tagger(tag) for kind, tag in PLAIN_SCALARS.items()},
    np.str_: lambda value, depth: {"$nu": _tag_str(str(value), depth)},
    np.bytes_: lambda value, _: {"$nb": to_base64(bytes(value))},
    bytes: lambda value, _: {"$b": to_base64(value)},
    bytearray: lambda value, _: {"$ba": to_base64(value)},
    complex: lambda value, _: {"$c": [_tag_float(value.real, 0), _tag_float(value.imag, 0)]},
    set: _tag_set("$set"),
    frozenset: _tag_set("$fset"),
    **dict.fromkeys((dt.datetime, dt.date, dt.time, dt.timedelta, Decimal, uuid.UUID), _tag_text_type),
    Repr: lambda value, _: _tag_repr(value),
}

_BASES: Final[tuple[tuple[type[Any], Callable[[Any], Any]], ...]] = (
    # Of a subclass: the base it is stored as, and how to reach that without the subclass's own methods.
    (int, int.__int__),
    (float, float.__float__),
    (str, lambda value: str.__str__(value)[:]),
    (bytes, lambda value: bytes.__getitem__(value, slice(None))),
    (tuple, lambda value: tuple.__getitem__(value, slice(None))),
    (list, lambda value: list.__getitem__(value, slice(None))),
    (dict, lambda value: dict(dict.items(value))),
    (set, set.copy),
    (frozenset, lambda value: frozenset(frozenset.__iter__(value))),
    (np.ma.MaskedArray, lambda value: masked_array(*masked_parts(value))),
    (np.ndarray, np.asarray),
)
