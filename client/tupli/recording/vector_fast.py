"""The short way of a vector step: arrays as ever, no infos, nothing ended. See `fast`."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tupli.recording.stream import BUSY, CAREFUL, RUN
from tupli.recording.vector import VectorStream
from tupli_schemas.structures import ArrayLeaf, Structure

VectorStep = Callable[[Any], Any]
Put = Callable[[int, Any], bool]


def make_vector_step(stream: VectorStream, env_step: VectorStep) -> VectorStep | None:
    """A vector step with recording around it, for the segment at hand; None when there is no short way."""
    if stream.structures is None or stream.schema is None or stream.schema.extra or not stream.short_way:
        return None
    columns, slots = stream.writer.segment.columns, stream.slots
    put_observations = _putter(stream.structures[0], columns.get("o0"), slots)
    put_actions = _putter(stream.structures[1], columns.get("a0"), slots)
    if put_observations is None or put_actions is None:
        return None
    return _closure(stream, env_step, put_observations, put_actions)


def _closure(
    stream: VectorStream, env_step: VectorStep, put_observations: Put, put_actions: Put
) -> VectorStep:
    writer, segment, slots = stream.writer, stream.writer.segment, stream.slots
    columns, word = segment.columns, segment.word
    times, last_row = columns["time"], writer.limit - 1 - slots
    put_rewards = _array_putter(columns["reward"], np.dtype(np.float64), (), slots)
    now, bool_dtype = time.time_ns, np.dtype(bool)
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
        if stream.state != BUSY:
            take(result)
            return result
        try:
            observations, rewards, terminated, truncated, infos = result
            if (
                not infos
                and terminated.dtype is bool_dtype
                and truncated.dtype is bool_dtype
                and 1 not in terminated.tobytes()
                and 1 not in truncated.tobytes()
                and put_rewards(row, rewards)
                and put_observations(row + slots, observations)
            ):
                times[row : row + slots] = now()
                row += slots
                word[0] = writer.control_at << 32 | row
                writer.row = row
                stream.state = RUN if row <= last_row and not stream.extra else CAREFUL
                return result
        except Exception:  # noqa: BLE001 - the recorder's edge, as above
            stream.rollback()
        take(result)
        return result

    return step


def _putter(structure: Structure, column: Any, slots: int) -> Put | None:
    if not isinstance(structure, ArrayLeaf) or structure.cell.is_opaque or column is None:
        return None
    if not structure.dtype.isnative or structure.box == "python":
        return None
    return _array_putter(column, structure.dtype, structure.shape, slots)


def _array_putter(column: Any, dtype: np.dtype[Any], shape: tuple[int, ...], slots: int) -> Put:
    array_type, wanted = np.ndarray, (slots, *shape)

    def put(row: int, value: Any) -> bool:
        if value.__class__ is array_type and value.dtype is dtype and value.shape == wanted:
            column[row : row + slots] = value
            return True
        return False

    return put
