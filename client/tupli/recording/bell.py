"""What wakes a thread."""

import queue


class Bell:
    """Wakes a thread, also where Ctrl-C may come at any line.

    An interrupted `threading.Event.set` can leave the event's lock held, and the next one waits for ever;
    `queue.SimpleQueue` is written for signal handlers.
    """

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        """Let `wait` return, now or when it is called."""
        self._rings.put(None)

    def wait(self, seconds: float) -> None:
        """Wait for a ring; all that came so far count as one."""
        try:
            self._rings.get(timeout=max(seconds, 0.0))
            while True:
                self._rings.get_nowait()
        except queue.Empty:
            return
