"""Workers that are loaded already: each is a process of its own, forked from one that has imported what they need.

To load it takes seconds of a processor: a test that starts fifty workers would mostly wait for that.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LOOK_S: Final = 0.02


class Nursery:
    """Forks workers on demand, and knows how they ended."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def fork(self, arguments: list[str], environment: dict[str, str], log: Path) -> "Forked":
        """A worker with these arguments, whose words go to `log`."""
        told = {"arguments": arguments, "environment": environment, "log": str(log)}
        return Forked(self, self._ask({"fork": told}))

    def code(self, pid: int) -> int | None:
        """The exit code of a worker, as `subprocess` has it; None while it runs."""
        code: int | None = self._ask({"code": pid})
        return code

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@dataclass
class Forked:
    """A worker: what `subprocess.Popen` offers."""

    nursery: Nursery
    pid: int
    code: int | None = None

    def poll(self) -> int | None:
        if self.code is None:
            self.code = self.nursery.code(self.pid)
        return self.code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 30.0) -> int:
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(f"worker {self.pid}", timeout)
            time.sleep(LOOK_S)
        return code


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A process that has loaded what workers need; it must outlive them."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Nursery(process)
        finally:
            process.kill()


def main() -> None:
    from tupli_ingest.__main__ import main as work  # tests import this module for its classes

    for line in sys.stdin:
        question = json.loads(line)
        if "code" in question:
            answer = _code(question["code"])
        elif not (answer := os.fork()):
            _become(question["fork"])
            os._exit(work(question["fork"]["arguments"]))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _code(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _become(told: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(told["environment"])
    log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(source, target)


if __name__ == "__main__":
    main()
