"""The index of one row: the plain definition; `index` derives the same for many rows at once.

Four kinds of paths:
- `num`: booleans (0, 1), integers up to 2^53 either way, and floats with NaN and infinity, as float64;
- `int`: the other integers of 64 bits;
- `str`: strings of up to 8 KiB;
- `other`: the paths where anything else is (null, lists, arrays, bytes, nested dicts themselves).

NumPy scalars count as their Python values, subclasses as what they are derived from. A path is keys joined by
dots (`paths`); keys that are no strings have none. Bounds: 8 keys deep, 256 paths a row, 1 KiB a path; what
is beyond them is not indexed, and no row is ever refused. What is not a dict has no paths.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from tupli_schemas.paths import escape_key
from tupli_schemas.values_numpy import PLAIN_TAGS

MAX_DEPTH: Final = 8
MAX_PATHS: Final = 256
MAX_PATH_BYTES: Final = 1_024
MAX_STRING_BYTES: Final = 8 * 1_024
EXACT: Final = 2**53

Kind = Literal["num", "int", "str", "other"]
_SPECIAL: Final = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


@dataclass
class RowIndex:
    """The paths of one row."""

    num: dict[str, float] = field(default_factory=dict)
    int_: dict[str, int] = field(default_factory=dict)
    str_: dict[str, str] = field(default_factory=dict)
    other: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, path: str, kind: Kind, value: Any) -> None:
        """Note a path."""
        self.count += 1
        if kind == "num":
            self.num[path] = value
        elif kind == "int":
            self.int_[path] = value
        elif kind == "str":
            self.str_[path] = value
        else:
            self.other.append(path)


def index_tagged(tagged: Any) -> RowIndex:
    """The index of a value's tagged JSON, however damaged that may be."""
    out = RowIndex()
    members = members_of(strip_type(tagged))
    if members is not None:
        _walk(members, "", 1, out)
    return out


def classify(value: Any) -> tuple[Kind, Any]:
    """The kind of a tagged value that is no dict with members, and what the index holds of it."""
    kind = type(value)
    if kind in (float, bool) or (kind is int and -EXACT <= value <= EXACT):
        return "num", float(value)
    if kind is int and -(2**63) <= value < 2**63:
        return "int", value
    if kind is str and is_short_text(value, MAX_STRING_BYTES):
        return "str", value
    if kind is dict and len(value) == 1:
        return _classify_tag(*next(iter(value.items())))
    return "other", None


def is_short_text(text: str, limit: int) -> bool:
    """Whether the text can be written as UTF-8 of at most `limit` bytes."""
    if text.isascii():
        return len(text) <= limit
    try:
        return len(text) <= limit and len(text.encode()) <= limit
    except UnicodeEncodeError:
        return False


def strip_type(tagged: Any) -> Any:
    """The value under `$as`, which only adds the type it had."""
    while type(tagged) is dict and len(tagged) == 1 and "$as" in tagged:
        payload = tagged["$as"]
        if type(payload) is not list or len(payload) != 2:
            return None
        tagged = payload[1]
    return tagged


def members_of(tagged: Any) -> Iterable[tuple[Any, Any]] | None:
    """The members of a tagged dict; None for anything else."""
    if type(tagged) is not dict:
        return None
    if len(tagged) == 1:
        ((key, payload),) = tagged.items()
        if key == "$d":
            pairs = payload if type(payload) is list else []
            return [(pair[0], pair[1]) for pair in pairs if type(pair) is list and len(pair) == 2]
        if key.startswith("$"):
            return None
    return tagged.items()


def _walk(members: Iterable[tuple[Any, Any]], prefix: str, depth: int, out: RowIndex) -> None:
    for key, item in members:
        if out.count == MAX_PATHS:
            return
        if type(key) is not str:
            continue
        path = prefix + escape_key(key)
        if not is_short_text(path, MAX_PATH_BYTES):
            continue
        value = strip_type(item)
        inner = members_of(value)
        if inner is None:
            out.add(path, *classify(value))
            continue
        out.add(path, "other", None)
        if depth < MAX_DEPTH:
            _walk(inner, f"{path}.", depth + 1, out)


def _classify_tag(tag: str, payload: Any) -> tuple[Kind, Any]:
    dtype = PLAIN_TAGS.get(tag)
    if dtype is not None:
        if type(payload) in (float, int, bool):
            return classify(payload)
        return _classify_bits(payload, dtype) if dtype.kind == "f" else ("other", None)
    if tag == "$f":
        if type(payload) is str and payload in _SPECIAL:
            return "num", _SPECIAL[payload]
        return _classify_bits(payload, np.dtype("<f8"))
    if tag == "$nu" and type(payload) is str:
        return classify(payload)
    return "other", None


def _classify_bits(payload: Any, dtype: np.dtype[Any]) -> tuple[Kind, Any]:
    """A float that is not finite, by the hexadecimal digits of its bytes."""
    try:
        raw = bytes.fromhex(payload)
    except (ValueError, TypeError):
        return "other", None
    if len(raw) != dtype.itemsize:
        return "other", None
    (value,) = struct.unpack(f"<{dtype.char}", raw)
    return "num", value
