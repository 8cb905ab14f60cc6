"""The short way of a vector step: arrays as ever, no infos, nothing ended. See `fast`."""

import struct
import time
from collections.abc import Callable
from math import prod
from typing import Any, Final

import numpy as np

from tupli.recording.fast import array_putter
from tupli.recording.stream import BUSY, CAREFUL, RUN
from tupli.recording.vector import VectorStream
from tupli.spool.segment import Segment
from tupli_schemas.structures import ArrayLeaf, Structure

VectorStep = Callable[[Any], Any]
Put = Callable[[int, Any], bool]
SMALL: Final = 1 << 14
"""Bytes of a block up to which two copies cost less than what it takes to begin one."""
_TIME: Final = struct.Struct("=q")


def make_vector_step(stream: VectorStream, env_step: VectorStep) -> VectorStep | None:
    """A vector step with recording around it, for the segment at hand; None when there is no short way."""
    if stream.structures is None or stream.schema is None or stream.schema.extra or not stream.short_way:
        return None
    segment, slots = stream.writer.segment, stream.slots
    put_observations = _putter(segment, "o0", stream.structures[0], slots)
    put_actions = _putter(segment, "a0", stream.structures[1], slots)
    if put_observations is None or put_actions is None:
        return None
    return _closure(stream, env_step, put_observations, put_actions)


def _closure(
    stream: VectorStream, env_step: VectorStep, put_observations: Put, put_actions: Put
) -> VectorStep:
    writer, segment, slots = stream.writer, stream.writer.segment, stream.slots
    published, last_row, none = segment.rows_word, writer.limit - 1 - 2 * slots, bytes(slots)
    array_type, f8, bool_dtype = np.ndarray, np.dtype(np.float64), np.dtype(bool)
    put_outcomes = _outcomes_putter(segment, slots)
    before, take = stream.before, stream.take

    def step(actions: Any) -> Any:
        if stream.state != RUN:
            before(actions)
            result = env_step(actions)
            take(result)
            return result
        stream.state = BUSY
        row = writer.row
        try:
            fits = put_actions(row, actions)
        except Exception:  # noqa: BLE001 - the recorder's edge: the long way knows more, and tells what it cannot keep
            fits = False
        if not fits:
            stream.state = CAREFUL
            before(actions)
        result = env_step(actions)
        if stream.state != BUSY or writer.row != row or writer.segment is not segment:
            take(result)  # something was told from inside the environment, or by another thread
            return result
        try:
            observations, rewards, terminated, truncated, infos = result
            if (
                not infos
                and terminated.dtype is bool_dtype
                and truncated.dtype is bool_dtype
                and terminated.tobytes() == none
                and truncated.tobytes() == none
                and rewards.__class__ is array_type
                and rewards.dtype is f8
                and rewards.shape == (slots,)
                and put_observations(row + slots, observations)
            ):
                put_outcomes(row, rewards)
                published[0] = writer.row = row + slots
                stream.state = RUN if row <= last_row and not stream.extra else CAREFUL
                return result
        except Exception:  # noqa: BLE001 - the recorder's edge, as above
            stream.rollback()
        take(result)
        return result

    return step


def _outcomes_putter(segment: Segment, slots: int) -> Callable[[int, Any], None]:
    """What writes rewards and the time of a block from a row on."""
    now, whole, pack_time, width = time.time_ns, segment.whole, _TIME.pack, 8 * slots
    (rewards_at, step), (times_at, _) = segment.places["reward"], segment.places["time"]
    reward_column, time_column = segment.columns["reward"], segment.columns["time"]

    def put_bytes(row: int, rewards: Any) -> None:
        at = 8 * row
        whole[rewards_at + at : rewards_at + at + width] = rewards.tobytes()
        whole[times_at + at : times_at + at + width] = pack_time(now()) * slots

    def put_arrays(row: int, rewards: Any) -> None:
        reward_column[row : row + slots] = rewards
        time_column[row : row + slots] = now()

    return put_bytes if step == 8 else put_arrays  # with one slot they stand in records


def _putter(segment: Segment, name: str, structure: Structure, slots: int) -> Put | None:
    """What writes a block from a row on, when a structure is one array a slot.

    It gives false, and nothing is written, when the value is not what it always was.
    """
    if not isinstance(structure, ArrayLeaf) or structure.cell.is_opaque or name not in segment.places:
        return None
    if not structure.dtype.isnative or structure.box == "python":
        return None
    array_type, dtype, shape = np.ndarray, structure.dtype, (slots, *structure.shape)
    whole, column, (at, row_size) = segment.whole, segment.columns[name], segment.places[name]
    size = slots * row_size

    def put_bytes(row: int, value: Any) -> bool:
        if value.__class__ is array_type and value.dtype is dtype and value.shape == shape:
            start = at + row * row_size
            whole[start : start + size] = value.tobytes()
            return True
        return False

    def put_rows(row: int, value: Any) -> bool:
        if value.__class__ is array_type and value.dtype is dtype and value.shape == shape:
            column[row : row + slots] = value
            return True
        return False

    if row_size != dtype.itemsize * prod(structure.shape):  # it stands in records: a vector of one slot
        return put_rows
    return put_bytes if size <= SMALL else array_putter(segment, name, dtype, shape, rows=slots)
