"""Checksums of what a segment holds, kept beside it by the background thread.

A process that dies leaves its pages to the kernel, and they are whole. A machine that dies may have
written some pages and not others: then only the ranges whose checksum holds are believed.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import xxhash

from tupli.spool import control
from tupli.spool.segment import Segment

_RECORD: Final = struct.Struct("<IIIIQQ")
"""rows from, to; control bytes from, to; digest of them with their heap; digest of this record"""


def sums_path(segment: Path) -> Path:
    """The file of a segment's checksums."""
    return segment.with_suffix(".sum")


class Checksums:
    """Appends the checksums of what was published since the last time, also where another process left off."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._rows, self._control = _resumed(segment.path)

    def update(self) -> None:
        """Cover everything that is published by now.

        Raises:
            OSError: There is no room, or the segment's directory is gone.
        """
        rows, ctrl, _ = self._segment.published()
        if rows <= self._rows and ctrl <= self._control:
            return
        digest = _digest(self._segment, self._rows, rows, self._control, ctrl)
        body = struct.pack("<IIIIQ", self._rows, rows, self._control, ctrl, digest)
        with sums_path(self._segment.path).open("ab") as file:
            file.write(body + struct.pack("<Q", xxhash.xxh3_64_intdigest(body)))
        self._rows, self._control = rows, ctrl


def verified(segment: Segment) -> tuple[int, int]:
    """How many rows and control bytes from the beginning are as they were written."""
    rows = ctrl = 0
    for start, end, from_control, to_control, digest in _records(segment.path):
        if start != rows or from_control != ctrl or end > segment.shape.rows:
            break
        if (
            to_control > segment.shape.control
            or _digest(segment, start, end, from_control, to_control) != digest
        ):
            break
        rows, ctrl = end, to_control
    return rows, ctrl


def _resumed(path: Path) -> tuple[int, int]:
    """How many rows and control bytes are covered; what is behind the last whole record of the file is cut off."""
    rows = ctrl = count = 0
    for start, end, from_control, to_control, _ in _records(path):
        if (start, from_control) != (rows, ctrl):
            break
        rows, ctrl, count = end, to_control, count + 1
    sums = sums_path(path)
    if sums.exists() and sums.stat().st_size != count * _RECORD.size:
        os.truncate(sums, count * _RECORD.size)
    return rows, ctrl


def _records(path: Path) -> Iterator[tuple[int, int, int, int, int]]:
    sums = sums_path(path)
    raw = sums.read_bytes() if sums.exists() else b""
    for at in range(0, len(raw) - _RECORD.size + 1, _RECORD.size):
        body = raw[at : at + _RECORD.size - 8]
        *record, check = _RECORD.unpack_from(raw, at)
        if xxhash.xxh3_64_intdigest(body) != check:
            return
        start, end, from_control, to_control, digest = record
        yield start, end, from_control, to_control, digest


def _digest(segment: Segment, start: int, end: int, from_control: int, to_control: int) -> int:
    state = xxhash.xxh3_64()
    for name, values in segment.columns.items():
        state.update(np.ascontiguousarray(values[start:end]).data.cast("B") if end > start else b"")
        if name.endswith("_size") and end > start:
            at = segment.columns[name.removesuffix("_size")][start:end].astype(np.int64)
            sizes = values[start:end].astype(np.int64)
            if sizes.any():
                low, high = int(at[sizes > 0].min()), int((at + sizes)[sizes > 0].max())
                state.update(segment.heap[low : min(high, segment.shape.heap)])
    state.update(_without_seals(segment, from_control, to_control))
    return state.intdigest()


def _without_seals(segment: Segment, start: int, end: int) -> bytes:
    """Control bytes but for the ends' seals, which are written later."""
    raw = bytearray(segment.control[start:end])
    at = 0
    while at + control.HEAD.size <= len(raw):
        size, kind, *_ = control.HEAD.unpack_from(raw, at)
        if size < control.HEAD.size:
            break
        if kind == control.Kind.END:
            raw[at + control.HEAD.size : at + control.HEAD.size + control.SEAL.size] = bytes(
                control.SEAL.size
            )
        at += size
    return bytes(raw)
