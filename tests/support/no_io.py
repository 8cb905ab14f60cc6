"""The rule that unit tests do no I/O, kept by an audit hook: code that swallows the error does not hide the attempt."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_BLOCKED = ("socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "sqlite3.connect")
_attempts: list[str] | None = None


class UnitTestDidIO(BaseException):
    """Raised inside the unit test that tried; `except Exception` does not catch it."""


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _attempts is None:
        return
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if event in _BLOCKED or writes:
        _attempts.append(f"{event}{args[:2]!r}")
        raise UnitTestDidIO(_attempts[-1])


sys.addaudithook(_audit)


@contextmanager
def no_io() -> Iterator[list[str]]:
    """Within the block every attempt to connect, bind, write a file or start a process raises and is listed."""
    global _attempts  # noqa: PLW0603 -- an audit hook has no other way to know of the running test
    before, _attempts = _attempts, []
    try:
        yield _attempts
    finally:
        _attempts = before
