"""Whether a worker stands still: something waits, and nothing has moved since it began to wait."""

from typing import Final

LONGEST_STEP_S: Final = 5.0
"""More than that between two looks does not count: the process itself slept."""


class Watchdog:
    """Counts how long something has waited while nothing moved; whoever looks gives the time."""

    def __init__(self) -> None:
        self._still_s = 0.0
        self._looked_at = 0.0
        self._waited = False
        self._moves = 0

    def look(self, now: float, *, waits: bool, moves: int) -> float:
        """For how long it has stood still, in seconds.

        `moves` changes whenever something moves; `now` is in seconds, from any clock that never goes back.
        """
        if waits and self._waited and moves == self._moves:
            self._still_s += min(now - self._looked_at, LONGEST_STEP_S)
        else:
            self._still_s = 0.0
        self._looked_at, self._waited, self._moves = now, waits, moves
        return self._still_s
