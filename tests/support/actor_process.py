"""An actor in a process of its own (see `support.actor`), and what is right in an episode that it recorded."""

import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from support import actor
from support.loop_oracle import Run


class Actor:
    """A running actor, and what it says that it has completed."""

    def __init__(self, mode: str, url: str, folder: Path) -> None:
        counter = folder / "counter"
        counter.write_bytes(bytes(4096))
        self.spool = folder / "spool"
        descriptor = os.open(counter, os.O_RDWR)
        self._counter = memoryview(mmap.mmap(descriptor, 4096)).cast("Q")
        os.close(descriptor)
        args = [sys.executable, actor.__file__, mode, url, str(self.spool), str(counter)]
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @property
    def completed(self) -> int:
        return int(self._counter[0])

    def wait_for(self, steps: int) -> None:
        deadline = time.monotonic() + 60
        while self.completed < steps:
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < deadline, "the actor does not get on"
            time.sleep(0.001)

    def kill(self) -> int:
        """Kill it; returns how many steps it had completed."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        return self.completed

    def finish(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


def check_walk(run: Run, first_action: int = 0) -> None:
    """An episode of `Walk` is right in itself."""
    for i, observation in enumerate(run.observations):
        assert observation.tolist() == [*run.observations[0][:2], i]
    assert run.rewards == [float(a) for a in run.actions]
    assert [info["count"] for info in run.infos] == list(range(1, len(run.actions) + 1))
    assert len(run.observations) == len(run.actions) + 1, "the last next observation is missing"
