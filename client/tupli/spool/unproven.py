"""What cannot be proven whole (decision 0007), after the machine was restarted or a file was damaged.

It is never sent, and never thrown away.

<root>/unproven/<stream id>.json             what it is, with the stream's manifest and state as they were
<root>/unproven/<stream id>-00000001.seg     the segment, with its checksums (`.sum`) beside it
"""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from tupli.spool.checksums import sums_path
from tupli.spool.layout import unpack_word
from tupli.spool.manifest import Manifest, write_json
from tupli.spool.segment import Segment, SegmentError

RESTARTED: Final = "the machine was restarted"


@dataclass(frozen=True, slots=True)
class Doubt:
    """A segment that is not believed, or not from somewhere on.

    Attributes:
        file: Where it is in the spool.
        why: What is wrong, for people.
        rows: That are lost to the stream: neither proven nor acknowledged.
        proven: Rows and control bytes before them that are.
        claimed: Rows, control bytes and whether it is closed, as its header says.
        whole: Whether nothing of it is believed, so that it leaves the spool.
    """

    file: Path
    why: str
    rows: int = 0
    proven: tuple[int, int] = (0, 0)
    claimed: tuple[int, int, bool] = (0, 0, False)
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Unproven:
    """What is kept of one stream, as `tupli spool status` shows it."""

    stream: str
    benchmark: str
    address: str
    rows: int
    bytes: int
    why: str
    folder: str


def doubt_of(segment: Segment, proven: tuple[int, int], why: str) -> Doubt | None:
    """The doubt about what a segment holds behind `proven` rows and control bytes; None when there is nothing.

    A page with rows may have been written and the header that counts them not: times tell that they are
    there.
    """
    rows, used, closed = segment.published()
    with segment.at_hand():
        last_time = _last(segment.columns["time"])
        last_told = _last(np.frombuffer(segment.control, np.uint8))
    held = max(rows, last_time + 1)
    held_control = max(used, last_told + 1)
    acknowledged, acknowledged_control, _ = unpack_word(segment.acknowledged[0])
    lost = held - max(proven[0], min(acknowledged, held))
    lost_control = held_control - max(proven[1], min(acknowledged_control, held_control))
    if lost <= 0 and lost_control < _ALIGNED:
        return None
    return Doubt(segment.path, why, max(lost, 0), proven, (rows, used, closed), whole=proven == (0, 0))


def _last(values: npt.NDArray[Any]) -> int:
    """Where the last one is that is not zero; -1 when all are."""
    found = np.flatnonzero(values)
    return int(found[-1]) if len(found) else -1


_ALIGNED: Final = 8
"""Control records end at multiples of so many bytes, with zeros."""


def damaged(files: Iterable[Path], why: str) -> list[Doubt]:
    """The doubts about a file that is no segment and about those behind it, whose numbers are then not known."""
    doubts = []
    for at, file in enumerate(files):
        try:
            doubt = doubt_of(Segment.open(file), (0, 0), why)
        except SegmentError as error:
            doubt = Doubt(file, str(error) if at else why)
        if doubt is not None:
            doubts.append(doubt)
    return doubts


def set_aside(folder: Path, path: Path, manifest: Manifest, doubts: list[Doubt]) -> None:
    """Keep the files of these doubts in `folder`; doing it again after a crash adds what was missing.

    What is believed in part stays in the spool as well: both names are one file, which is not copied.

    Raises:
        OSError: There is no room, or the folder cannot be written. Nothing has left the spool that is not
            kept.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder / f"{manifest.stream}.json"
    segments = _dict(_read(about), "segments")
    for doubt in doubts:
        segments.setdefault(
            doubt.file.name,
            {"why": doubt.why, "rows": doubt.rows, "proven": doubt.proven, "claimed": doubt.claimed},
        )
    state = path / "state.json"
    told = {
        "stream": manifest.stream,
        "why": doubts[0].why,
        "segments": segments,
        "manifest": asdict(manifest),
        "state": orjson.loads(state.read_bytes()) if state.exists() else None,
    }
    write_json(about, told)
    files = [(doubt, file) for doubt in doubts for file in (sums_path(doubt.file), doubt.file)]
    for _, file in files:
        _keep(file, folder / f"{manifest.stream}-{file.name}")
    for doubt, file in reversed(
        files
    ):  # the first goes last: as long as one is here, the first is, and is judged again
        if doubt.whole:
            file.unlink(missing_ok=True)


def unproven(folder: Path) -> Iterator[Unproven]:
    """What is kept, stream by stream."""
    for about in sorted(folder.glob("*.json")):
        told = _read(about)
        manifest = _dict(told, "manifest")
        benchmark = _dict(manifest, "benchmark")
        yield Unproven(
            stream=about.stem,
            benchmark=str(benchmark.get("name") or benchmark.get("id", "")),
            address=str(manifest.get("address", "")),
            rows=sum(_rows(segment) for segment in _dict(told, "segments").values()),
            bytes=sum(file.stat().st_size for file in folder.glob(f"{about.stem}-*.seg")),
            why=str(told.get("why", "its description is damaged")),
            folder=str(folder),
        )


def _keep(file: Path, kept: Path) -> None:
    if not file.exists() or kept.exists():
        return
    try:
        os.link(file, kept)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        part = kept.with_name(f".{kept.name}")  # a file system without links
        part.touch(0o600)
        shutil.copyfile(file, part)
        part.rename(kept)


def _dict(told: dict[str, Any], name: str) -> dict[str, Any]:
    """A member; empty where the document is damaged."""
    value = told.get(name)
    return value if isinstance(value, dict) else {}


def _rows(segment: Any) -> int:
    """What a document says that a segment has; 0 where it is damaged."""
    rows = segment.get("rows") if isinstance(segment, dict) else None
    return rows if isinstance(rows, int) else 0


def _read(about: Path) -> dict[str, Any]:
    try:
        told = orjson.loads(about.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return told if isinstance(told, dict) else {}
