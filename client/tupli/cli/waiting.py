"""What dead processes left in a spool, and for whom: what a flush can deliver, and what it leaves alone."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tupli.cli.output import count
from tupli.recording.backoff import reason_of
from tupli.recording.flush import stream_status
from tupli.spool.directory import SpoolDirectory
from tupli.spool.manifest import Manifest, ManifestError
from tupli.transport.base import Body, SendResult, Transport
from tupli_schemas.catalog import Command


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows of some streams for one server.

    Attributes:
        address: The server. rows: Steps, and final observations. is_mine: Whether the asking subject recorded them.
    """

    address: str
    streams: int
    rows: int
    is_mine: bool


@dataclass(frozen=True, slots=True)
class Left:
    """A look into a spool: `mine` is what a flush delivers, `elsewhere` what is for others."""

    mine: Waiting
    elsewhere: tuple[Waiting, ...]


def look(root: SpoolDirectory, transport: Transport) -> Left:
    """What waits in the spool of processes that run no more."""
    found: dict[tuple[str, bool], list[int]] = {(transport.address, True): []}
    for path in root.streams():
        status = stream_status(path)
        if status is None or status.alive or not status.address:
            continue  # gone meanwhile, still recording, or damaged: `flush` tells that
        is_mine = _identity_of(path) == transport.identity
        found.setdefault((status.address, is_mine), []).append(status.rows)
    groups = [Waiting(address, len(rows), sum(rows), mine) for (address, mine), rows in found.items()]
    return Left(groups[0], tuple(groups[1:]))


class Watched:
    """A transport that looks into the spool before its first request.

    Not earlier: a flush first closes what dead processes left open, and what it cannot prove leaves the spool then.
    """

    def __init__(self, root: SpoolDirectory, transport: Transport) -> None:
        self._root = root
        self._transport = transport
        self._first: Left | None = None
        self.address, self.identity = transport.address, transport.identity

    def look(self) -> Left:
        """What waits now."""
        return look(self._root, self._transport)

    @property
    def first(self) -> Left:
        """What waited then; now, if nothing was asked yet."""
        return self._first or self.look()

    def send_events(self, body: Body) -> SendResult:
        """See `Transport`."""
        self._first = self.first
        return self._transport.send_events(body)

    def command(self, command: Command) -> dict[str, Any]:
        """See `Transport`."""
        self._first = self.first
        return self._transport.command(command)

    def stream_state(self, stream: bytes) -> dict[str, Any]:
        """See `Transport`."""
        return self._transport.stream_state(stream)

    def close(self) -> None:
        """See `Transport`."""
        self._transport.close()


def elsewhere_told(groups: Iterable[Waiting], directory: Path | None) -> list[str]:
    """What a flush left alone, and what to write to deliver it."""
    out = []
    for group in groups:
        told = f"{count(group.rows, 'row')} of {count(group.streams, 'stream')} for {group.address} stay in the spool"
        if not group.is_mine:
            told += ", recorded as somebody else: set their TUPLI_TOKEN"
        out.append(f"{told}; deliver them with: {flush_command(group.address, directory)}")
    return out


def flush_command(address: str, directory: Path | None) -> str:
    """What to write to flush a spool to a server."""
    where = [] if directory is None else ["--spool-dir", str(directory)]
    return shlex.join(["tupli", "spool", "flush", "--url", address, *where])


def cut_short(
    before: Left, after: Left, error: BaseException, directory: Path | None
) -> tuple[dict[str, Any], str]:
    """The report of a flush that did not come to its end, for programs and for people.

    Steps and episodes are not known then: they are counted stream by stream.
    """
    left = after.mine
    rows = before.mine.rows - left.rows
    report = {
        "streams": before.mine.streams - left.streams,
        "episodes": None,
        "steps": None,
        "rows": rows,
        "left": left.rows,
        "rejected": None,
        "problems": [reason_of(error)],
    }
    told = (
        f"cut short: delivered {rows} of {count(before.mine.rows, 'row')}; {count(left.rows, 'row')} of "
        f"{count(left.streams, 'stream')} stay in the spool; "
        f"deliver them with: {flush_command(left.address, directory)}"
    )
    return report, told


def _identity_of(path: Path) -> str | None:
    try:
        return Manifest.read(path).identity
    except ManifestError:
        return None
