"""What dead processes left in a spool, and for whom: what a flush can deliver, and what it leaves alone."""

import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tupli.cli.output import count
from tupli.recording.backoff import reason_of
from tupli.recording.flush import FlushReport, is_alive, manifest_of, status_of
from tupli.spool.directory import SpoolDirectory
from tupli.spool.manifest import ManifestError
from tupli.transport.base import Transport
from tupli.transport.kafka_address import is_kafka


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
        try:
            manifest = manifest_of(path)
        except ManifestError:
            continue  # `flush` tells that
        if manifest is None or is_alive(manifest):
            continue  # gone meanwhile, or still recording
        is_mine = manifest.identity == transport.identity
        rows = status_of(path, manifest).rows
        found.setdefault((manifest.address, is_mine), []).append(rows)
    groups = [Waiting(address, len(rows), sum(rows), mine) for (address, mine), rows in found.items()]
    return Left(groups[0], tuple(groups[1:]))


def elsewhere_told(groups: Iterable[Waiting], directory: Path | None) -> list[str]:
    """What a flush left alone, and what to write to deliver it."""
    out = []
    for group in groups:
        told = f"{count(group.rows, 'row')} of {count(group.streams, 'stream')} for {group.address} stay in the spool"
        if not group.is_mine:
            which = "TUPLI_GRANT, the grant of their benchmark" if is_kafka(group.address) else "TUPLI_TOKEN"
            told += f", recorded as somebody else: set their {which}"
        out.append(f"{told}; deliver them with: {flush_command(group.address, directory)}")
    return out


def flush_command(address: str, directory: Path | None) -> str:
    """What to write to flush a spool to a server."""
    where = [] if directory is None else ["--spool-dir", str(directory)]
    return shlex.join(["tupli", "spool", "flush", "--url", address, *where])


def cut_short(
    report: FlushReport, left: Waiting, error: BaseException, directory: Path | None
) -> tuple[dict[str, Any], str]:
    """The report of a flush that did not come to its end, for programs and for people.

    Args:
        report: What was done by then.
        left: What waits now for the same server and subject.
        error: What ended it.
        directory: The spool, if one was named.
    """
    problems = [*report.problems, reason_of(error)]
    told = (
        f"cut short: delivered {report.rows} of {count(report.rows + left.rows, 'row')}; "
        f"{count(left.rows, 'row')} of {count(left.streams, 'stream')} stay in the spool; "
        f"deliver them with: {flush_command(left.address, directory)}"
    )
    return asdict(replace(report, left=left.rows, problems=problems)), told
