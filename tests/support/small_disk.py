"""A file system of a few megabytes, in a namespace of its own: no right to mount is needed outside of it."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.ingest_service import eventually

_CHUNK = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """`within` is the command whose arguments are run where `folder` is the small disk."""

    folder: Path
    pid: int

    @property
    def within(self) -> list[str]:
        return ["nsenter", "--preserve-credentials", "-U", "-m", "-t", str(self.pid)]

    def fill(self) -> None:
        """Leave no room."""
        with (self.seen / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(_CHUNK):
                pass

    def empty(self) -> None:
        """Give back what `fill` took."""
        (self.seen / "ballast").unlink()

    @property
    def is_full(self) -> bool:
        return self._free() < len(_CHUNK)

    def _free(self) -> int:
        return int(subprocess.check_output(["stat", "-f", "-c", "%a", str(self.seen)])) * 4_096

    @property
    def seen(self) -> Path:
        """The folder, from outside."""
        return Path(f"/proc/{self.pid}/root{self.folder}")


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """A small disk where `folder` is, until the block ends; what is run within must have ended before."""
    folder.mkdir(parents=True)
    command = (
        f"mount -t tmpfs -o size={megabytes}m tmpfs {folder} && touch {folder}/made && exec sleep infinity"
    )
    holder = subprocess.Popen(["unshare", "-Urm", "sh", "-c", command])
    disk = SmallDisk(folder, holder.pid)
    try:
        eventually((disk.seen / "made").exists)
        (disk.seen / "made").unlink()
        yield disk
    finally:
        holder.kill()
        holder.wait()
