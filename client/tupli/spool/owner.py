"""Who owns a stream: a process, told from any other by pid, start time and boot; and the lock that says so.

Locks are POSIX record locks: the kernel drops them with the process, and a forked child does not inherit them.
They do not tell threads of one process apart, hence the check of the process first.
"""

import fcntl
import os
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, as no other one ever is."""

    pid: int
    started: float
    boot: str

    def to_json(self) -> dict[str, Any]:
        """The owner as JSON."""
        return asdict(self)

    @property
    def is_this_process(self) -> bool:
        """Whether it is the process that asks."""
        return self == this_process()

    @property
    def from_this_boot(self) -> bool:
        """Whether the machine has not been started again since."""
        return self.boot == boot_id()


@cache
def boot_id() -> str:
    """What changes with every start of the machine."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else f"{psutil.boot_time():.0f}"


_known: dict[int, Owner] = {}


def this_process() -> Owner:
    """The running process."""
    pid = os.getpid()
    if pid not in _known:
        _known.clear()
        _known[pid] = Owner(pid, psutil.Process(pid).create_time(), boot_id())
    return _known[pid]


class StreamLock:
    """The exclusive lock of a stream's directory, held until closed or until the process ends."""

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._pid = os.getpid()

    def acquire(self) -> bool:
        """Take the lock; False when another process has it."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
