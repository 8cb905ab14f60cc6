"""One process per data directory: a lock file that names who holds it."""

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

LOCK_NAME: Final = "tupli.lock"


class DataDirectoryBusy(RuntimeError):
    """Another process uses the data directory; the message names it."""


class DataLock:
    """Holds `<directory>/tupli.lock` while the process lives; the kernel lets go of it when the process dies.

    Raises:
        DataDirectoryBusy: Another process holds it.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = (directory / LOCK_NAME).open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = _describe(self._file.read())
            self._file.close()
            raise DataDirectoryBusy(f"{directory} is used by {holder}; stop it first") from error
        self._file.truncate(0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        self._file.write(json.dumps({"pid": os.getpid(), "since": since}))
        self._file.flush()

    def release(self) -> None:
        """Let go of the directory."""
        self._file.close()


def _describe(text: str) -> str:
    try:
        holder = json.loads(text)
        return f"process {holder['pid']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # between the lock and its text
        return "another process"
