"""Ctrl-C at a chosen line of the recorder."""

import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

OF_THE_RECORDER: Final = ("/tupli/recording/", "/tupli/spool/")
OF_THE_COLLECTOR: Final = "/tupli/recording/abandoned.py"
"""It runs whenever a recording is collected, an earlier test's at any line of this one; what it raises reaches nobody."""
NEVER: Final = sys.maxsize


@contextmanager
def interrupted_at(line: int) -> Iterator[list[int]]:
    """Raise KeyboardInterrupt at the recorder's `line`-th line from here on; the list counts those that ran.

    Lines that begin with `with` or `try` do not count. Python tells of them also between a block and its exit,
    or before a nested block, where it handles no signal: a lock would stay held as with no Ctrl-C.
    """
    seen = [0]

    def in_frame(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line" and not _opens_block(frame):
            seen[0] += 1
            if seen[0] == line:
                sys.settrace(None)
                raise KeyboardInterrupt
        return in_frame

    def trace(frame: FrameType, _event: str, _argument: object) -> Any:
        name = frame.f_code.co_filename
        is_counted = any(part in name for part in OF_THE_RECORDER) and OF_THE_COLLECTOR not in name
        return in_frame if is_counted else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(before)


def _opens_block(frame: FrameType) -> bool:
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return line.lstrip().startswith(("with ", "try:"))
