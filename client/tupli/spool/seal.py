"""Closing a stream whose owner died: open episodes end as aborted, on the observations that wait at the next block.

It writes what the owner would have written, once: times are those of the last row, so that doing it again
after another crash gives the same.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from tupli.spool import control
from tupli.spool.checksums import verified
from tupli.spool.control import Kind
from tupli.spool.layout import IS_FINAL, pack_word, unpack_word
from tupli.spool.manifest import Manifest, StreamState
from tupli.spool.segment import Segment, SegmentError
from tupli.spool.unproven import RESTARTED, Doubt, damaged, doubt_of, set_aside

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


def close_dead(path: Path, manifest: Manifest, unproven: Path) -> DeadStream:
    """Open a dead stream's segments and close what is open in them; all are put away. The stream's lock is held.

    Args:
        path: The stream's directory.
        manifest: Of it.
        unproven: Where segments are kept that are not believed.

    Raises:
        ManifestError: It cannot be told where the numbers stand.
        OSError: There is no room to keep what is not believed; the stream is as it was.
    """
    state = StreamState.read(path, manifest.slots)
    segments, doubts = _chain(path, state, manifest)
    proven: list[tuple[int, int]] = []
    if not manifest.owner.from_this_boot:
        proven, more = _proven(segments)
        doubts = more + doubts
    if doubts:
        # Before a header is changed: what comes behind a gap must never look as if it followed what is
        # before it.
        set_aside(unproven, path, manifest, doubts)
    if not manifest.owner.from_this_boot:
        believed = zip(segments, proven, strict=False)
        segments = [_believe(segment, *upto) for segment, upto in believed if upto != (0, 0)]
    elif segments:
        _end_open(segments, state)
    return DeadStream(manifest, segments, [_loss(manifest, doubts, unproven)] if doubts else [])


def _loss(manifest: Manifest, doubts: list[Doubt], unproven: Path) -> str:
    rows = sum(doubt.rows for doubt in doubts)
    return (
        f"{doubts[0].why}: what stream {manifest.stream} recorded last ({rows} rows) cannot be proven whole; "
        f"it is not sent, and kept in {unproven}"
    )


def _chain(path: Path, state: StreamState, manifest: Manifest) -> tuple[list[Segment], list[Doubt]]:
    """The segments from the state's on, to the first that is not closed; spares behind it are removed.

    What is behind a missing or damaged one is in doubt: nobody knows its numbers.
    """
    chain: list[Segment] = []
    over = False
    files = sorted(path.glob("*.seg"))
    for index, file in enumerate(files):
        number, expected = int(file.stem), state.segment + len(chain)
        if number < state.segment or (over and manifest.owner.from_this_boot):
            file.unlink(missing_ok=True)
            continue
        if number != expected:
            return chain, damaged(files[index:], f"segment {expected} is missing")
        try:
            segment = Segment.open(file)
        except SegmentError as error:
            return chain, damaged(files[index:], str(error))
        chain.append(segment)
        over = not segment.published()[2]
        segment.put_away()  # they may be more than the files that a process may open
    return chain, []


def _end_open(segments: list[Segment], state: StreamState) -> None:
    open_ = {slot: one.episode for slot, one in enumerate(state.slots) if one.episode}
    time = 0
    for segment in segments:
        rows, used, _ = segment.published()
        with segment.at_hand():
            for record in control.decode(segment.control, 0, used):
                if record.kind is Kind.START:
                    open_[record.slot] = record.episode
                elif record.kind is Kind.END:
                    open_.pop(record.slot, None)
                time = max(time, record.time)
            if rows:
                time = max(time, int(segment.columns["time"][rows - 1]))
    last = segments[-1]
    if not last.published()[2]:
        with last.at_hand():
            _close(last, open_, time)


def _close(last: Segment, open_: dict[int, int], time: int) -> None:
    """End these episodes, by slot, and with them the stream."""
    rows, used, _ = last.published()
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


def _proven(segments: list[Segment]) -> tuple[list[tuple[int, int]], list[Doubt]]:
    """After a restart of the machine: what is proven, segment by segment to the first gap, and what is not."""
    proven = []
    for index, segment in enumerate(segments):
        with segment.at_hand():
            rows, used = verified(segment)
        proven.append((rows, used))
        if segment.published() != (rows, used, True):
            behind = [doubt_of(other, (0, 0), RESTARTED) for other in segments[index + 1 :]]
            here = doubt_of(segment, (rows, used), RESTARTED)
            return proven, [doubt for doubt in (here, *behind) if doubt is not None]
    return proven, []


def _believe(segment: Segment, rows: int, used: int) -> Segment:
    """Keep what is proven; nothing is ended that is not known to have ended."""
    with segment.at_hand():
        segment.word[0] = pack_word(rows, used, closed=True)
        acknowledged, acknowledged_control, _ = unpack_word(segment.acknowledged[0])
        if acknowledged > rows or acknowledged_control > used:
            segment.acknowledge(rows, used)
    return segment
