"""Closing a stream whose owner died: open episodes end as aborted, on the observations that wait at the next block.

It writes what the owner would have written, once: times are those of the last row, so that doing it again after
another crash gives the same.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from tupli.spool import control
from tupli.spool.checksums import verified
from tupli.spool.control import Kind
from tupli.spool.layout import IS_FINAL, pack_word
from tupli.spool.manifest import Manifest, StreamState
from tupli.spool.segment import Segment, SegmentError

KILLED: Final = "killed"


@dataclass
class DeadStream:
    """What is left of a stream: its segments in order, all closed, and what could not be saved of it."""

    manifest: Manifest
    segments: list[Segment] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def mark_final(columns: dict[str, npt.NDArray[Any]], row: int, end: int, now: int) -> None:
    """Make a block's rows the final rows of its slots: observations only, whatever else was written there."""
    for name, values in columns.items():
        if name[0] in "ax" or name in ("reward", "info", "info_size"):
            values[row:end] = 0
    columns["flags"][row:end] = IS_FINAL
    columns["slot"][row:end] = range(end - row)
    columns["time"][row:end] = now


def close_dead(path: Path, manifest: Manifest) -> DeadStream:
    """Open a dead stream's segments and close what is open in them. The stream's lock is held."""
    state = StreamState.read(path, manifest.slots)
    dead = DeadStream(manifest)
    for segment in _chain(path, state, dead):
        dead.segments.append(segment)
    if not manifest.owner.from_this_boot:
        _believe_checksums(dead)
    elif dead.segments:
        _end_open(dead.segments, state)
    return dead


def _chain(path: Path, state: StreamState, dead: DeadStream) -> list[Segment]:
    """The segments from the state's on, to the first that is not closed; spares behind it are removed."""
    chain: list[Segment] = []
    over = False
    for file in sorted(path.glob("*.seg")):
        number = int(file.stem)
        if number < state.segment or (over and manifest_is_of_this_boot(dead)):
            file.unlink(missing_ok=True)
            continue
        try:
            segment = Segment.open(file)
        except SegmentError as error:
            dead.lost.append(str(error))
            break
        chain.append(segment)
        over = not segment.published()[2]
    return chain


def manifest_is_of_this_boot(dead: DeadStream) -> bool:
    """Whether what the segments say of themselves can be believed as it is."""
    return dead.manifest.owner.from_this_boot


def _end_open(segments: list[Segment], state: StreamState) -> None:
    open_ = {slot: one.episode for slot, one in enumerate(state.slots) if one.episode}
    time = 0
    for segment in segments:
        rows, used, _ = segment.published()
        for record in control.decode(segment.control, 0, used):
            if record.kind is Kind.START:
                open_[record.slot] = record.episode
            elif record.kind is Kind.END:
                open_.pop(record.slot, None)
            time = max(time, record.time)
        if rows:
            time = max(time, int(segment.columns["time"][rows - 1]))
    last = segments[-1]
    rows, used, closed = last.published()
    if closed:
        return
    if open_:
        end = rows + last.shape.slots
        mark_final(last.columns, rows, end, time)
        rows = end
        for slot, episode in sorted(open_.items()):
            payload = control.payload_of(reason=KILLED)
            raw = control.encode(
                Kind.END,
                slot=slot,
                episode=episode,
                row=rows,
                time=time,
                flags=control.ABORTED,
                payload=payload,
            )
            last.control[used : used + len(raw)] = raw
            used += len(raw)
    last.word[0] = pack_word(rows, used, closed=True)


def _believe_checksums(dead: DeadStream) -> None:
    """After a restart of the machine: keep what is proven, say what is not, end nothing that is not known."""
    for index, segment in enumerate(dead.segments):
        claimed = segment.published()
        rows, used = verified(segment)
        segment.word[0] = pack_word(rows, used, closed=True)
        acknowledged = segment.acknowledged[0]
        if acknowledged & 0xFFFFFFFF > rows or acknowledged >> 32 > used:
            segment.acknowledge(rows, used)
        if claimed != (rows, used, True):
            left = sum(s.published()[0] for s in dead.segments[index + 1 :])
            dead.lost.append(
                f"the machine was restarted: {max(claimed[0] - rows, 0) + left} rows of stream "
                f"{dead.manifest.stream} cannot be proven whole and are not sent"
            )
            del dead.segments[index + 1 :]
            return
