"""A shortage that is often over soon: files that the process may not open, because others of the run are open."""

from typing import Final

from tupli.errors import SpoolFull
from tupli.spool.directory import TooManyFiles

LASTING_SECONDS: Final = 30.0


class Shortage:
    """Tells a shortage of files that lasts from one that is soon over; the latter costs the episode, no more."""

    def __init__(self) -> None:
        self._since: float | None = None

    def lasts(self, error: SpoolFull, now: float) -> bool:
        """Whether recording ends with this error; `now` in monotonic seconds."""
        if not isinstance(error, TooManyFiles):
            return True
        if self._since is None:
            self._since = now
        return now - self._since >= LASTING_SECONDS

    def over(self) -> None:
        """There was a segment."""
        self._since = None
