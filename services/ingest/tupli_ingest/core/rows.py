"""Rows of one `StepsRecorded`: which episodes they belong to, and whether they hold together.

The numbers of a record are consecutive, and so are, within a record, the steps of each of its episodes.
Therefore any run of consecutive numbers is again such a record: a partial repetition is cut out by slicing.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tupli_schemas.errors import EventError
from tupli_schemas.steps import Layout

LAST_STEP = 2**63 - 2
_FLAGS = ("is_final", "terminated", "truncated")

KNOWN_LAYOUTS = 64
"""Layouts that are remembered. One of 1,000 leaves holds 1 MB, and anyone may name one."""
parse_layout = lru_cache(maxsize=KNOWN_LAYOUTS)(Layout.parse)
"""The layout of its text, remembered: every record of steps names its layout.

Raises:
    SchemaMismatch: The text is none.
"""


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one episode in a record: steps `first..last`; `final`: the last one is the final row."""

    ordinal: int
    first: int
    last: int
    final: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows with the numbers `first..first + len(batch) - 1` of their stream, and their groups.

    `final_flag` names a flag that is set in a final row, which the gateway refuses.
    """

    layout: Layout
    batch: pa.RecordBatch
    first: int
    groups: tuple[Group, ...]
    final_flag: str = ""

    def cut(self, first: int, last: int) -> "Rows":
        """The rows with the numbers `first..last`, which must be among these."""
        if first == self.first and last == self.first + self.batch.num_rows - 1:
            return self
        part = self.batch.slice(first - self.first, last - first + 1)
        return Rows(self.layout, part, first, _groups(part, _column(part, 2), "rows"))

    def of(self, group: Group) -> pa.RecordBatch:
        """The rows of one group, in order."""
        if len(self.groups) == 1:
            return self.batch
        return self.batch.filter(pa.array(_column(self.batch, 0) == group.ordinal))

    def without(self, ordinals: set[int]) -> pa.RecordBatch:
        """The rows of all episodes but these."""
        return self.batch.filter(pa.array(~np.isin(_column(self.batch, 0), list(ordinals))))


def rows_of(batch: pa.RecordBatch, layout: Layout, first: int, last: int, place: str = "rows") -> Rows:
    """The rows of a record that covers the numbers `first..last`.

    Raises:
        EventError: Their count is another; an ordinal is 0; the steps of an episode are not consecutive; a
            final row is followed by more rows of its episode; a flag is neither 0 nor 1.
    """
    if batch.num_rows != last - first + 1:
        raise EventError(f"{batch.num_rows} rows for the numbers {first}..{last}", place=place)
    final, terminated, truncated = (_column(batch, at) for at in (2, 4, 5))
    flags = (final, terminated, truncated)
    if (final | terminated | truncated).max() > 1:
        wrong = next(name for name, flag in zip(_FLAGS, flags, strict=True) if int(flag.max()) > 1)
        raise EventError("is neither 0 nor 1", place=f"{place}.{wrong}")
    groups = _groups(batch, final, place)
    flagged = [name for name, flag in zip(_FLAGS[1:], flags[1:], strict=True) if (final & flag).any()]
    return Rows(layout, batch, first, groups, "".join(flagged[:1]))


def _groups(batch: pa.RecordBatch, final: npt.NDArray[Any], place: str) -> tuple[Group, ...]:
    episode, step = _column(batch, 0), _column(batch, 1)
    ordinal = int(episode[0])
    if ordinal == int(episode[-1]) and (episode == ordinal).all():
        groups: tuple[Group, ...] = (_single(ordinal, step, final, place),)
    else:
        groups = _many(episode, step, final, place)
    for group in groups:
        if group.ordinal == 0:
            raise EventError("0 is the stream, episodes count from 1", place=f"{place}.episode")
        if group.last > LAST_STEP:
            raise EventError(f"a step is above {LAST_STEP}", place=f"{place}.step")
    return groups


def _single(ordinal: int, step: npt.NDArray[Any], final: npt.NDArray[Any], place: str) -> Group:
    first, last = int(step[0]), int(step[-1])
    if last - first != len(step) - 1 or not (step[1:] - step[:-1] == 1).all():
        raise _not_consecutive(ordinal, place)
    if final[:-1].any():
        raise _after_final(ordinal, place)
    return Group(ordinal, first, last, bool(final[-1]))


def _many(
    episode: npt.NDArray[Any], step: npt.NDArray[Any], final: npt.NDArray[Any], place: str
) -> tuple[Group, ...]:
    order = np.argsort(episode, kind="stable")
    episode, step, final = episode[order], step[order], final[order]
    same = episode[1:] == episode[:-1]
    # Unsigned differences wrap: 0 after 2^64-1 is a difference of 1.
    if (wrong := same & ((step[1:] - step[:-1] != 1) | (step[1:] < step[:-1]))).any():
        raise _not_consecutive(int(episode[int(np.argmax(wrong))]), place)
    if (wrong := same & (final[:-1] != 0)).any():
        raise _after_final(int(episode[int(np.argmax(wrong))]), place)
    starts = np.concatenate(([0], np.flatnonzero(~same) + 1))
    ends = np.concatenate((starts[1:] - 1, [len(episode) - 1]))
    columns = (episode[starts], step[starts], step[ends], final[ends])
    return tuple(
        Group(ordinal, first, last, last_is_final != 0)
        for ordinal, first, last, last_is_final in zip(*(column.tolist() for column in columns), strict=True)
    )


def _not_consecutive(ordinal: int, place: str) -> EventError:
    return EventError(f"the steps of episode {ordinal} are not consecutive", place=f"{place}.step")


def _after_final(ordinal: int, place: str) -> EventError:
    return EventError(f"episode {ordinal} has rows after its final observation", place=f"{place}.is_final")


def _column(batch: pa.RecordBatch, at: int) -> npt.NDArray[Any]:
    """A column of `STEP_FIELDS` in its memory; batches without rows have none."""
    values: npt.NDArray[Any] = batch.column(at).to_numpy()
    return values


def same_rows(left: pa.RecordBatch, right: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Row by row, whether all columns of `left` have the same bits in `right`.

    Both have the same length. NaN equals itself.
    """
    same = np.ones(left.num_rows, dtype=np.bool_)
    for field in left.schema:
        same &= _same_cells(left.column(field.name), right.column(field.name))
    return same


def _same_cells(left: pa.Array, right: pa.Array) -> npt.NDArray[np.bool_]:
    if pa.types.is_binary(left.type):
        pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
        return np.fromiter((a == b for a, b in pairs), np.bool_, len(left))
    one, two = _bits(left), _bits(right)
    equal: npt.NDArray[np.bool_] = (one == two).all(axis=1)
    return equal


def _bits(column: pa.Array) -> npt.NDArray[np.uint8]:
    rows = len(column)
    flat = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
    values = np.ascontiguousarray(flat.to_numpy(zero_copy_only=False))
    return values.view(np.uint8).reshape(rows, -1)
