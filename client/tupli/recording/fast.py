"""The short way of a step: one observation array and one action, of the dtypes and shapes that the schema has.

A closure over the mapped records of one segment, made anew for each. Everything unusual (another type, an
extra fact, the end of the segment, a callback) takes the long way of `single`, and both leave the same
rows. What counts here are nanoseconds: local names, one packed write instead of an item assignment a
column, no call that can be left out.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from tupli.recording.single import SingleStream
from tupli.recording.stream import BUSY, CAREFUL, RUN
from tupli.spool.segment import Segment
from tupli_schemas.steps import MAX_CELL_BYTES
from tupli_schemas.structures import ArrayLeaf, Structure
from tupli_schemas.values import encode

StepResult = tuple[Any, Any, bool, bool, dict[str, Any]]
Step = Callable[[Any], StepResult]
_NO_RESULT: Final[Any] = object()
"""Stands for what an environment that raised did not return; None is what a broken one may return."""
Put = Callable[[int, Any], bool]
"""Writes a value into a row; false, and nothing written, when it is not what it always was."""


def make_step(stream: SingleStream, env_step: Step) -> Step | None:
    """A step of the environment with recording around it, for the segment at hand; None when there is no short way."""
    if stream.structures is None or stream.schema is None or stream.schema.extra or not stream.short_way:
        return None
    segment = stream.writer.segment
    observation, action = (
        _leaf(structure, segment, name)
        for structure, name in ((stream.structures[0], "o0"), (stream.structures[1], "a0"))
    )
    if observation is None or action is None:
        return None
    record = segment.shape.record[0]
    if observation.is_vector and action.is_vector and {"o0", "a0"} <= record.keys():
        return _vectors(stream, env_step, observation, action)
    return _leaves(stream, env_step, observation.put, action.put)


@dataclass(frozen=True)
class _Leaf:
    """How one leaf is written; `is_vector` when its bytes alone are enough: an array of one dimension."""

    put: Put
    dtype: np.dtype[Any]
    size: int
    is_vector: bool


def _outcome(segment: Segment, start: str, *, observation: int = 0) -> struct.Struct:
    """Packs a record from column `start` on: reward, time, place of the info; then the next row's observation.

    Flags and slot stay 0: a step that ends an episode takes the long way.
    """
    offsets, size = segment.shape.record
    ends = {"reward": 8, "time": 8, "info": 4, "info_size": 4}
    form, at = "=", offsets[start]
    if start not in ends:
        width = segment.columns[start].dtype.itemsize * prod(segment.columns[start].shape[1:])
        form, at = f"={width}s", at + width
    for name, letter in (("reward", "d"), ("time", "q"), ("info", "I"), ("info_size", "I")):
        form += f"{offsets[name] - at}x{letter}"
        at = offsets[name] + ends[name]
    return struct.Struct(form + (f"{size - at}x{observation}s" if observation else ""))


def _vectors(stream: SingleStream, env_step: Step, o: _Leaf, a: _Leaf) -> Step:  # noqa: C901 -- one straight line
    """The step when observation and action are short vectors: one write from the action to the next observation."""
    writer, segment = stream.writer, stream.writer.segment
    published, heap, whole = segment.rows_word, segment.heap, segment.whole
    offsets, stride = segment.shape.record
    base = segment.record_at + offsets["a0"]
    pack = _outcome(segment, "a0", observation=o.size).pack_into
    heap_limit, last_row = segment.shape.heap, writer.limit - 2
    now, encode_info, array_type = time.time_ns, encode, np.ndarray
    o_dtype, o_size, a_dtype, a_size = o.dtype, o.size, a.dtype, a.size
    around, end = _around(stream, env_step), stream.end_short
    recover = _recovery(stream, segment.columns["a0"])

    def step(action: Any) -> StepResult:  # noqa: PLR0911 -- every call left out counts
        # With one dimension the number of bytes says the shape.
        if (
            stream.state != RUN
            or action.__class__ is not array_type
            or action.dtype is not a_dtype
            or action.ndim != 1
            or len(raw := action.tobytes()) != a_size
        ):
            return around(action)
        result: StepResult = _NO_RESULT
        try:
            result = env_step(action)
            row = writer.row
            if stream.state != RUN:  # something was told from inside the environment, or by another thread
                return recover(row, raw, result) if stream.state == CAREFUL else result
            observation, reward, terminated, truncated, info = result
            at = size = 0
            if info:
                told = encode_info(info)
                size = len(told)
                at = writer.heap_at
                if at + size > heap_limit or size > MAX_CELL_BYTES:
                    return recover(row, raw, result)
                heap[at : at + size] = told
                writer.heap_at = at + size
            if (
                observation.__class__ is not array_type
                or observation.dtype is not o_dtype
                or observation.ndim != 1
                or len(following := observation.tobytes()) != o_size
            ):
                return recover(row, raw, result)
            pack(whole, base + row * stride, raw, reward, now(), at, size, following)
            if terminated or truncated:
                end(observation, terminated, truncated)
                return result
            writer.row = row = row + 1
            published[0] = row
            if row > last_row:
                stream.state = CAREFUL
        except BaseException as error:
            if result is _NO_RESULT or not isinstance(error, Exception):
                stream.state = (
                    BUSY  # the environment failed, or Ctrl-C came: this step is over before it was one
                )
                raise
            return recover(writer.row, raw, result)
        return result

    return step


def _leaves(stream: SingleStream, env_step: Step, o_put: Put, a_put: Put) -> Step:  # noqa: C901 -- one straight line
    """The step for any other pair of single leaves."""
    writer, segment = stream.writer, stream.writer.segment
    published, heap, whole = segment.rows_word, segment.heap, segment.whole
    offsets, stride = segment.shape.record
    base = segment.record_at + offsets["reward"]
    pack = _outcome(segment, "reward").pack_into
    heap_limit, last_row = segment.shape.heap, writer.limit - 2
    now, encode_info = time.time_ns, encode
    around, end = _around(stream, env_step), stream.end_short
    recover = _recovery(stream, None)

    def step(action: Any) -> StepResult:  # noqa: PLR0911 -- as above
        if stream.state != RUN or not a_put(writer.row, action):
            return around(action)
        result: StepResult = _NO_RESULT
        try:
            result = env_step(action)
            row = writer.row
            if stream.state != RUN:
                return recover(row, b"", result) if stream.state == CAREFUL else result
            observation, reward, terminated, truncated, info = result
            at = size = 0
            if info:
                told = encode_info(info)
                size = len(told)
                at = writer.heap_at
                if at + size > heap_limit or size > MAX_CELL_BYTES:
                    return recover(row, b"", result)
                heap[at : at + size] = told
                writer.heap_at = at + size
            if not o_put(row + 1, observation):
                return recover(row, b"", result)
            pack(whole, base + row * stride, reward, now(), at, size)
            if terminated or truncated:
                end(observation, terminated, truncated)
                return result
            writer.row = row = row + 1
            published[0] = row
            if row > last_row:
                stream.state = CAREFUL
        except BaseException as error:
            if result is _NO_RESULT or not isinstance(error, Exception):
                stream.state = BUSY
                raise
            return recover(writer.row, b"", result)
        return result

    return step


def _around(stream: SingleStream, env_step: Step) -> Step:
    """The long way of a whole step."""

    def step(action: Any) -> StepResult:
        if stream.state == RUN:
            stream.state = CAREFUL
        stream.before(action)
        result = env_step(action)
        stream.take(result)
        return result

    return step


def _recovery(stream: SingleStream, action_column: Any) -> Callable[[int, bytes, StepResult], StepResult]:
    """The long way from the environment's answer on: it knows more kinds of values, and tells what it cannot keep."""

    def recover(row: int, raw: bytes, result: StepResult) -> StepResult:
        try:
            stream.rollback()
            stream.state = BUSY
            if action_column is not None:
                action_column[row] = np.frombuffer(raw, action_column.dtype)
        except Exception as error:  # noqa: BLE001 - the recorder's edge
            stream.failed(error)
        else:
            stream.take(result)
        return result

    return recover


def _leaf(structure: Structure, segment: Segment, name: str) -> _Leaf | None:
    put = _putter(structure, segment, name)
    if put is None or not isinstance(structure, ArrayLeaf):
        return None
    size = structure.cell.size * structure.dtype.itemsize
    return _Leaf(put, structure.dtype, size, len(structure.shape) == 1 and structure.box == "ndarray")


def _putter(structure: Structure, segment: Segment, name: str) -> Put | None:
    """What writes one leaf into its column, when that is all the structure has."""
    column = segment.columns.get(name)
    if not isinstance(structure, ArrayLeaf) or structure.cell.is_opaque or column is None:
        return None
    dtype = structure.dtype
    if not dtype.isnative:
        return None
    if structure.box == "python" and structure.shape == ():
        return _python_putter(column, {"b": bool, "i": int, "f": float}.get(dtype.kind))
    if structure.box == "scalar":
        return _scalar_putter(column, dtype.type)
    if structure.box == "ndarray":
        return array_putter(segment, name, dtype, structure.shape)
    return None


def _python_putter(column: Any, kind: type | None) -> Put | None:
    if kind is None:
        return None

    def put(row: int, value: Any) -> bool:
        if value.__class__ is kind:
            try:
                column[row] = value
            except OverflowError:  # an integer of more than 64 bits
                return False
            return True
        return False

    return put


def _scalar_putter(column: Any, kind: type) -> Put:
    def put(row: int, value: Any) -> bool:
        if value.__class__ is kind:
            column[row] = value
            return True
        return False

    return put


def array_putter(
    segment: Segment, name: str, dtype: "np.dtype[Any]", shape: tuple[int, ...], *, rows: int = 1
) -> Put:
    """What writes an array into `rows` rows of its column, which lie densely or are one.

    From some hundred items on NumPy gives up the interpreter to copy, and waits behind the background's threads
    to have it back: longer than the copy took. The memory's own assignment keeps it.
    """
    array_type, whole, column = np.ndarray, segment.whole, segment.columns[name]
    (at, stride), size = segment.places[name], prod(shape) * dtype.itemsize

    def put_array(row: int, value: Any) -> bool:
        if value.__class__ is array_type and value.dtype is dtype and value.shape == shape:
            start = at + row * stride
            try:
                whole[start : start + size] = value.data.cast("B")
            except (TypeError, ValueError):  # it lies in another order; or times, which have no plain memory
                column[row : row + rows] = value
            return True
        return False

    return put_array
