"""NumPy arrays and scalars in tagged JSON, dtype and bits kept; used by `values`.

    {"$nd": [dtype, shape, base64]}     an array, row-major, in the byte order of its dtype
    {"$f4": 0.5}  {"$f4": "0000c07f"}   a number of a plain dtype; little-endian bytes when not finite
    {"$np": [dtype, base64]}            any other scalar
    {"$nu": text}  {"$nb": base64}      numpy.str_ and numpy.bytes_

A dtype is its text (`<f4`, `<M8[ns]`) or, when structured, a list of `[name, dtype]` or `[name, dtype,
shape]`.
"""

import binascii
import math
import re
import struct
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tupli_schemas.errors import ValueCodecError

DOUBLE: Final = struct.Struct("<d")
"""A float's bits, where its text says less."""
_DTYPE = re.compile(r"[<>|=]?(?:[biufcSUV?]\d*|[mM]8(?:\[\w+\])?)")
_MAX_DTYPE_DEPTH: Final = 16

PLAIN_SCALARS: Final[dict[type[Any], str]] = {
    np.dtype(code).type: f"${code}"
    for code in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
}
"""Scalar types that are numbers, and their tags."""
PLAIN_TAGS: Final[dict[str, np.dtype[Any]]] = {tag: np.dtype(f"<{tag[1:]}") for tag in PLAIN_SCALARS.values()}


def plain_tagger(tag: str) -> Callable[[Any, int], Any]:
    """What tags a number of this tag's dtype."""
    dtype = PLAIN_TAGS[tag]
    if dtype.kind != "f":
        return lambda value, _: {tag: value.item()}

    def tag_float(value: Any, _: int) -> Any:
        number = float(value)
        return {tag: number if math.isfinite(number) else value.astype(dtype).tobytes().hex()}

    return tag_float


def tag_scalar(value: np.generic) -> Any:
    """The tagged JSON of a NumPy scalar of another dtype; None when it has none (it holds objects)."""
    dtype = describe_dtype(value.dtype)
    return None if dtype is None else {"$np": [dtype, to_base64(value.tobytes())]}


def tag_array(value: npt.NDArray[Any]) -> Any:
    """The tagged JSON of an array; None when it has none (it holds objects)."""
    dtype = describe_dtype(value.dtype)
    return None if dtype is None else {"$nd": [dtype, list(value.shape), to_base64(value.tobytes())]}


def untag_array(payload: Any) -> npt.NDArray[Any]:
    """The array of `$nd`'s payload, writable."""
    described, shape, data = payload
    dtype = read_dtype(described)
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueCodecError(f"{shape!r} is not a shape")
    raw = from_base64(data)
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise ValueCodecError(f"{len(raw)} bytes are no {dtype}{shape}")
    if not raw:
        return np.empty(shape, dtype)
    return np.frombuffer(raw, dtype).reshape(shape).copy()


def masked_parts(
    value: Any,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None, npt.NDArray[Any] | None]:
    """Data, mask and fill value of a masked array; None for a mask that it does not have, and NumPy's own fill value."""
    data, mask, fill = np.ma.getdata(value, subok=False), np.ma.getmask(value), np.asarray(value.fill_value)
    is_default = bool(fill == np.asarray(np.ma.default_fill_value(data)))
    return data, None if mask is np.ma.nomask else mask, None if is_default else fill


def masked_array(data: Any, mask: Any, fill: Any) -> Any:
    """The masked array of its parts.

    Raises:
        ValueCodecError: They do not fit together.
    """
    if not all(isinstance(part, np.ndarray) for part in (data, *(p for p in (mask, fill) if p is not None))):
        raise ValueCodecError("a masked array has an array, a mask and a fill value")
    wanted = data.shape, np.ma.make_mask_descr(data.dtype)
    if mask is not None and (mask.shape, mask.dtype) != wanted:
        raise ValueCodecError(f"the mask {mask.dtype}{mask.shape} does not fit {data.dtype}{data.shape}")
    if fill is not None and fill.shape:
        raise ValueCodecError("a fill value is one value")
    mask = np.ma.nomask if mask is None else mask
    return np.ma.MaskedArray(data, mask, fill_value=None if fill is None else fill[()])


def untag_scalar(payload: Any) -> Any:
    """The scalar of `$np`'s payload."""
    described, data = payload
    dtype, raw = read_dtype(described), from_base64(data)
    if len(raw) != dtype.itemsize:
        raise ValueCodecError(f"{len(raw)} bytes are no {dtype}")
    return np.frombuffer(raw, dtype)[0].copy() if raw else np.zeros((), dtype)[()]


def plain_untagger(tag: str) -> Callable[[Any], Any]:
    """What makes a number of this tag from its payload."""
    dtype = PLAIN_TAGS[tag]
    wanted = {"b": (bool,), "i": (int,), "u": (int,)}.get(dtype.kind, (float, int))

    def untag(payload: Any) -> Any:
        if type(payload) is str:
            return np.frombuffer(bytes.fromhex(payload), dtype)[0]
        if type(payload) not in wanted:
            raise ValueCodecError(f"{payload!r} is no {dtype}")
        return dtype.type(payload)

    return untag


def describe_dtype(dtype: np.dtype[Any]) -> Any:
    """The JSON of a dtype, or None when its items are objects or it cannot be made again from JSON."""
    if dtype.hasobject or dtype.kind not in "biufcmMSUV":
        return None
    if not dtype.fields:
        return dtype.str
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        described = np.lib.format.dtype_to_descr(dtype)
        return described if read_dtype(described) == dtype else None


def read_dtype(described: Any, depth: int = 0) -> np.dtype[Any]:
    """The dtype of its JSON.

    Raises:
        ValueCodecError: It is none that can hold plain data.
    """
    if depth > _MAX_DTYPE_DEPTH:
        raise ValueCodecError("the dtype is nested too deeply")
    if isinstance(described, str):
        if _DTYPE.fullmatch(described) is None:
            raise ValueCodecError(f"{described!r} is not a dtype")
        return np.dtype(described)
    fields = []
    for name, inner, *shape in described:
        title = tuple(name) if isinstance(name, list) else name
        fields.append((title, _undescribed(inner, depth), *(tuple(s) for s in shape[:1])))
    return np.dtype(np.lib.format.descr_to_dtype(fields))


def _undescribed(inner: Any, depth: int) -> Any:
    """A field's dtype in NumPy's own description, checked."""
    read = read_dtype(inner, depth + 1)
    return read.str if isinstance(inner, str) else np.lib.format.dtype_to_descr(read)


def to_base64(data: bytes | bytearray | memoryview) -> str:
    """The data as base64 without line breaks."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def from_base64(text: Any) -> bytes:
    """The bytes of base64.

    Raises:
        ValueCodecError: The text is none.
    """
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValueCodecError("not base64") from error
