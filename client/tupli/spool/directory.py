"""The spool's directory: where it is, that it is local, and how full it may become.

<root>/<server>/<stream id>/{manifest.json, state.json, lock, 00000001.seg, ...}
<root>/rejected/<stream id>-<first number>.{event,json}
<root>/unproven/<stream id>.json, <stream id>-00000001.{seg,sum}
"""

import contextlib
import errno
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from tupli.errors import InvalidInput, SpoolFull

NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT))
"""What the system says where a file cannot grow."""
NO_FILES: Final = frozenset((errno.EMFILE, errno.ENFILE))
"""What it says where a process, or all together, have as many open files as they may."""
DEFAULT_LIMIT: Final = 2 << 30
FREE_DISK: Final = 64 << 20
FREE_SHARE: Final = 20
"""What is left to others: so many bytes of the disk, of a small one its twentieth part."""
LOOK_SECONDS: Final = 5.0
"""For so long it counts what was seen."""
PLENTY: Final = 256 << 20
GIVEN_SHARE: Final = 4
"""From so many free bytes on, and such a part of them, is given without another look."""
_NETWORK: Final = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smbfs",
        "smb3",
        "smb2",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "gpfs",
        "beegfs",
        "pvfs2",
        "ocfs2",
        "gfs2",
        "afpfs",
        "webdav",
        "davfs",
        "davfs2",
        "ncpfs",
        "9p",
        "fuse.sshfs",
        "fuse.s3fs",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.rclone",
    ]
)


class TooManyFiles(SpoolFull):
    """There is room, but no more files may be open at the moment."""


class SpoolDirectory:
    """The root of a spool.

    Args:
        path: The directory; `TUPLI_SPOOL_DIR`, or the user's state directory, when left out.
        limit: Bytes of segments that it may hold; `TUPLI_SPOOL_LIMIT`, or 2 GiB, when left out.

    Raises:
        InvalidInput: The directory cannot be written, or is on a network file system.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, limit: int | None = None) -> None:
        self.root = Path(path) if path is not None else default_root()
        self.limit = limit if limit is not None else _limit_of_environment()
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(
                f"cannot be made ({error.strerror})", place=f"spool_dir {self.root}"
            ) from error
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise InvalidInput("cannot be written", place=f"spool_dir {self.root}")
        check_local(self.root)

    def stream_path(self, address: str, stream: str) -> Path:
        """A new directory for a stream of a server, readable by its owner only."""
        server = self.root / hashlib.sha256(address.encode()).hexdigest()[:12]
        server.mkdir(mode=0o700, exist_ok=True)
        path = server / stream
        path.mkdir(mode=0o700)
        return path

    def streams(self) -> Iterator[Path]:
        """The directories of all streams."""
        for manifest in sorted(self.root.glob("*/*/manifest.json")):
            yield manifest.parent

    @property
    def rejected(self) -> Path:
        """Where events are kept that the server will never take."""
        path = self.root / "rejected"
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    @property
    def unproven(self) -> Path:
        """Where segments are kept that cannot be proven whole; made when there are any."""
        return self.root / "unproven"

    def used(self) -> int:
        """Bytes of all segments that wait; what was put aside for people is not counted."""
        return sum(
            _size(entry)
            for server in _entries(self.root)
            for stream in _entries(server)
            for entry in _entries(stream)
            if entry.name.endswith(".seg")
        )

    @property
    def _room(self) -> "_Room":
        return _rooms.setdefault(str(self.root.absolute()), _Room())

    def make_room(self, size: int) -> None:
        """Check that a segment of `size` bytes may be added.

        Where there was plenty a moment ago, that is enough (0009): each look at the file system gives up the
        interpreter, and a thread in the background may wait a tenth of a second until it has it back.

        Raises:
            SpoolFull: The limit or the disk has no room for it.
        """
        if not self._room.take(size):
            self._look(size)

    def look(self) -> None:
        """See how much room there is, for `make_room` to know."""
        with contextlib.suppress(SpoolFull):  # `make_room` says so to who needs some
            self._look(0)

    def _look(self, size: int) -> None:
        began = time.monotonic()
        self._room.forget()
        used = self.used()
        if used + size > self.limit:
            told = f"the spool {self.root} holds {used} bytes of at most {self.limit}, and a segment needs {size}"
            raise SpoolFull(told)
        disk = shutil.disk_usage(self.root)
        reserve = min(FREE_DISK, disk.total // FREE_SHARE)
        if disk.free < size + reserve:
            raise SpoolFull(
                f"the disk of the spool {self.root} is full: {disk.free} bytes are free, "
                f"{size} are needed and {reserve} are left to others"
            )
        self._room.give(min(self.limit - used, disk.free - reserve) - size, began)


def _entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    """What a folder holds; nothing when it is none, or gone. Asked for each second: `Path.glob` takes five times as long."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (NotADirectoryError, FileNotFoundError):
        return []


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0


class _Room:
    """What all streams of this process may take of a spool without another look at it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = 0
        self._seen_at = 0.0

    def take(self, size: int) -> bool:
        """Take some, if there is."""
        with self._lock:
            if size > self._left or time.monotonic() - self._seen_at > LOOK_SECONDS:
                return False
            self._left -= size
            return True

    def forget(self) -> None:
        """Nothing is known."""
        with self._lock:
            self._left = 0

    def give(self, free: int, seen_at: float) -> None:
        """So many bytes were free: where they are plenty, a part of them; other processes may take theirs."""
        with self._lock:
            self._left, self._seen_at = (free // GIVEN_SHARE if free >= PLENTY else 0), seen_at


_rooms: dict[str, _Room] = {}
os.register_at_fork(after_in_child=_rooms.clear)


def default_root() -> Path:
    """`TUPLI_SPOOL_DIR`, or `tupli/spool` in the user's state directory."""
    named = os.environ.get("TUPLI_SPOOL_DIR")
    if named:
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "tupli" / "spool"


def check_local(path: Path) -> None:
    """Refuse a network file system: mapped pages and locks cannot be relied on there.

    Raises:
        InvalidInput: The path is on one.
    """
    kind = filesystem_of(path)
    if kind in _NETWORK:
        raise InvalidInput(
            f"is on a network file system ({kind}); name a local directory with TUPLI_SPOOL_DIR",
            place=f"spool_dir {path}",
        )


def filesystem_of(path: Path) -> str:
    """The type of the file system that holds the path, in lower case; empty when it cannot be told."""
    resolved = str(path.resolve())
    best = ("", "")
    try:
        partitions = psutil.disk_partitions(all=True)
    except OSError:
        return ""
    for part in partitions:
        mount = part.mountpoint.rstrip("/")
        if (resolved == mount or resolved.startswith(mount + "/")) and len(mount) >= len(best[0]):
            best = (mount, part.fstype)
    return best[1].lower()


def _limit_of_environment() -> int:
    text = os.environ.get("TUPLI_SPOOL_LIMIT", "")
    if not text:
        return DEFAULT_LIMIT
    if not text.isdigit():
        raise InvalidInput(f"{text!r} is not a number of bytes", place="TUPLI_SPOOL_LIMIT")
    return int(text)
