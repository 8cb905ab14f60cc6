"""What dead processes left in a spool, taken over by a process that records: a few streams at a time.

Each has open files, and there may be more streams than files that a process may open.
"""

from typing import Final

from tupli.recording.flush import DeadJob, dead_jobs
from tupli.spool.directory import SpoolDirectory
from tupli.telling import tell
from tupli.transport.base import Transport

AT_ONCE: Final = 16


class Adoption:
    """The dead streams of a spool for one server and subject (the thread that ships), so many at once.

    Attributes:
        over: Whether no further ones wait to be taken over.
    """

    def __init__(self, directory: SpoolDirectory, transport: Transport, at_once: int = AT_ONCE) -> None:
        self.over = False
        self._at_once = at_once
        self._root = directory.root
        self._problems: list[str] = []
        self._waiting = dead_jobs(directory, transport, self._problems)
        self._taken: list[DeadJob] = []

    def given_up(self) -> list[DeadJob]:
        """Streams that cannot be delivered now, where others wait for their places: they stay in the spool."""
        self._leave_out_what_is_over()
        if self.over or len(self._taken) < self._at_once:
            return []
        return [job for job in self._taken if job.blocked or job.backoff.failures]

    def taken_over(self) -> list[DeadJob]:
        """As many further streams as there are places."""
        self._leave_out_what_is_over()
        taken: list[DeadJob] = []
        while not self.over and len(self._taken) + len(taken) < self._at_once:
            job = next(self._waiting, None)
            if job is None:
                self.over = True
            else:
                taken.append(job)
        self._taken += taken
        for problem in self._problems:
            tell(f"in the spool {self._root}, {problem}")
        self._problems.clear()
        return taken

    def _leave_out_what_is_over(self) -> None:
        self._taken = [job for job in self._taken if not (job.done.is_set() or job.left)]
