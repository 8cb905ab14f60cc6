"""The short way of a step: one observation array and one action, of the dtypes and shapes that the schema has.

A closure over the mapped columns of one segment, made anew for each. Everything unusual (another type, an extra
fact, the end of the segment, a callback) takes the long way of `single`, and both leave the same rows. What counts
here are nanoseconds: local names, memory views instead of NumPy's item assignment, no call that can be left out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tupli.recording.single import SingleStream
from tupli.recording.stream import BUSY, CAREFUL, RUN
from tupli_schemas.structures import ArrayLeaf, Structure
from tupli_schemas.values import encode

StepResult = tuple[Any, Any, bool, bool, dict[str, Any]]
Step = Callable[[Any], StepResult]
Put = Callable[[int, Any], bool]
"""Writes a value into a row; false, and nothing written, when it is not what it always was."""

_SMALL: Final = 4096
"""Up to so many bytes a copy by way of `bytes` is cheaper than NumPy's assignment."""


def make_step(stream: SingleStream, env_step: Step) -> Step | None:
    """A step of the environment with recording around it, for the segment at hand; None when there is no short way."""
    if stream.structures is None or stream.schema is None or stream.schema.extra or not stream.short_way:
        return None
    columns = stream.writer.segment.columns
    observation, action = (
        _leaf(structure, columns.get(name))
        for structure, name in ((stream.structures[0], "o0"), (stream.structures[1], "a0"))
    )
    if observation is None or action is None:
        return None
    return _closure(stream, env_step, observation, action)


@dataclass(frozen=True)
class _Leaf:
    """How one leaf is written: by `put`, or in line when it is a short vector (`size` bytes, else 0)."""

    put: Put
    view: memoryview
    dtype: np.dtype[Any]
    size: int


def _closure(stream: SingleStream, env_step: Step, o: _Leaf, a: _Leaf) -> Step:  # noqa: C901, PLR0915 -- one straight line
    writer, segment = stream.writer, stream.writer.segment
    columns, word, heap = segment.columns, segment.word, segment.heap
    rewards, times = _view(columns["reward"]), _view(columns["time"])
    info_at, info_size = _view(columns["info"]), _view(columns["info_size"])
    heap_limit, last_row = segment.shape.heap, writer.limit - 2
    now, encode_info, array_type = time.time_ns, encode, np.ndarray
    before, take, after = stream.before, stream.take, stream.after
    failed, end = stream.failed, stream.end_short
    o_put, o_view, o_dtype, o_size = o.put, o.view, o.dtype, o.size
    a_put, a_view, a_dtype, a_size = a.put, a.view, a.dtype, a.size

    def step(action: Any) -> StepResult:  # noqa: C901 -- every call left out counts
        if stream.state != RUN:
            before(action)
            result = env_step(action)
            take(result)
            return result
        stream.state = BUSY
        row = writer.row
        try:
            if a_size and action.__class__ is array_type and action.dtype is a_dtype and action.ndim == 1:
                a_view[row * a_size : (row + 1) * a_size] = action.tobytes()
            elif not a_put(row, action):
                long_before(action)
        except Exception:  # noqa: BLE001 - the recorder's edge: the long way knows more, and tells what it cannot keep
            long_before(action)
        result = env_step(action)
        if stream.state != BUSY:
            return result
        try:
            observation, reward, terminated, truncated, info = result
            if info:
                raw = encode_info(info)
                at = writer.heap_at
                heap_end = at + len(raw)
                if heap_end > heap_limit:
                    after(observation, reward, terminated, truncated, info)
                    return result
                heap[at:heap_end] = raw
                info_at[row] = at
                info_size[row] = heap_end - at
                writer.heap_at = heap_end
            rewards[row] = reward
            times[row] = now()
            if terminated or truncated:
                end(observation, terminated, truncated)
                return result
            row += 1
            # With one dimension the size, which the assignment checks, says the shape.
            if (
                o_size
                and observation.__class__ is array_type
                and observation.dtype is o_dtype
                and observation.ndim == 1
            ):
                o_view[row * o_size : (row + 1) * o_size] = observation.tobytes()
            elif not o_put(row, observation):
                after(observation, reward, terminated, truncated, info)
                return result
            word[0] = writer.control_at << 32 | row
            writer.row = row
            stream.state = RUN if row <= last_row else CAREFUL
        except Exception as error:  # noqa: BLE001 - the recorder's edge
            recover(result, error)
        return result

    def recover(result: StepResult, error: Exception) -> None:
        """The long way knows more kinds of values; what it cannot keep either aborts the episode."""
        try:
            observation, reward, terminated, truncated, info = result
            stream.rollback()
        except Exception:  # noqa: BLE001 - the recorder's edge
            failed(error)
        else:
            after(observation, reward, terminated, truncated, info)

    def long_before(action: Any) -> None:
        """The long way for an action of another type, from the state before this step."""
        stream.state = CAREFUL
        before(action)

    return step


def _view(column: Any) -> Any:
    """A column for assigning single numbers: a third of the time that NumPy takes."""
    return memoryview(column)


def _leaf(structure: Structure, column: Any) -> _Leaf | None:
    put = _putter(structure, column)
    if put is None or not isinstance(structure, ArrayLeaf):
        return None
    size = structure.cell.size * structure.dtype.itemsize
    in_line = len(structure.shape) == 1 and structure.box == "ndarray" and size <= _SMALL
    return _Leaf(put, memoryview(column.reshape(-1).view(np.uint8)), structure.dtype, size if in_line else 0)


def _putter(structure: Structure, column: Any) -> Put | None:
    """What writes one leaf into its column, when that is all the structure has."""
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
        return _array_putter(column, dtype, structure.shape)
    return None


def _python_putter(column: Any, kind: type | None) -> Put | None:
    if kind is None:
        return None
    view = _view(column)

    def put(row: int, value: Any) -> bool:
        if value.__class__ is kind:
            view[row] = value
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


def _array_putter(column: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Put:
    array_type = np.ndarray
    size = int(np.prod(shape)) * dtype.itemsize
    if size > _SMALL:

        def put_large(row: int, value: Any) -> bool:
            if value.__class__ is array_type and value.dtype is dtype and value.shape == shape:
                column[row] = value
                return True
            return False

        return put_large
    view = memoryview(column.reshape(-1).view(np.uint8))

    def put_array(row: int, value: Any) -> bool:
        if value.__class__ is array_type and value.dtype is dtype and value.shape == shape:
            at = row * size
            view[at : at + size] = value.tobytes()
            return True
        return False

    return put_array
