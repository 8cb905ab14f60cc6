"""Streams whose owner is gone without a `close`: they are ended on a thread of the background.

A finalizer runs on whatever thread collects garbage, at any line, perhaps inside a lock that ending needs: there it
would wait for itself for ever. So it only says what is to be done; `queue.SimpleQueue.put` may be entered again.
"""

import contextlib
import os
import queue
import threading
from collections.abc import Callable

from tupli.telling import tell

_waiting: "queue.SimpleQueue[Callable[[], None]]" = queue.SimpleQueue()
_ending = threading.Lock()
"""Held while a stream is ended by others than its owner."""


def abandon(end: Callable[[], None]) -> None:
    """Have a stream ended soon (finalizers)."""
    _waiting.put(end)


def end_now(end: Callable[[], None]) -> None:
    """End a stream that its owner does not end, or no more (the interpreter's exit); one such end at a time."""
    with _ending:
        end()


def end_what_comes(patience: float) -> None:
    """Wait so many seconds for something that is abandoned, and end all that is (a thread of the background)."""
    with contextlib.suppress(queue.Empty):
        _end(_waiting.get(timeout=patience))
        while True:
            _end(_waiting.get_nowait())


def _end(end: Callable[[], None]) -> None:
    try:
        end_now(end)
    except Exception as error:  # noqa: BLE001 - the thread's edge
        tell(f"ending a forgotten recording met {type(error).__name__}: {error}")


def _in_child() -> None:
    """What waits is the parent's, and so is who may hold the lock."""
    global _waiting, _ending
    _waiting, _ending = queue.SimpleQueue(), threading.Lock()


os.register_at_fork(after_in_child=_in_child)
