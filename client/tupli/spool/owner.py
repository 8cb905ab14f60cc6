"""Who owns a stream: a process, told from any other by pid, start time and boot; and the lock that says so.

Locks are POSIX record locks: the kernel drops them with the process, and a forked child does not inherit
them. They do not tell threads of one process apart, hence a list of those that this process holds.
"""

import fcntl
import os
import threading
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
        self._path = os.path.realpath(directory / "lock")
        self._descriptor = -1

    def acquire(self) -> bool:
        """Take the lock; False when another process, or somebody else in this one, has it.

        Raises:
            FileNotFoundError: The directory is gone.
        """
        with _guard:
            if _held.get(self._path) == os.getpid():
                return False  # not even opened: closing any descriptor of the file would drop the lock
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return False
            _held[self._path] = os.getpid()
            self._descriptor = descriptor
        return True

    def close(self) -> None:
        """Let go of it."""
        with _guard:
            if self._descriptor < 0:
                return
            os.close(self._descriptor)
            self._descriptor = -1
            if _held.get(self._path) == os.getpid():
                del _held[self._path]


_held: dict[str, int] = {}
"""Locks that are held, and by which process: a forked child has none of its parent's."""
_guard = threading.Lock()


def _in_child() -> None:
    global _guard  # noqa: PLW0603 - perhaps held by a thread that the child does not have
    _guard = threading.Lock()


os.register_at_fork(after_in_child=_in_child)
