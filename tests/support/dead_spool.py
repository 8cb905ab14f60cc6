"""A spool that a process left in the middle of an episode, as this process can make it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tupli.recording import Recorder, lifetime, shipper
from tupli.recording.job import StreamJob
from tupli.spool import control
from tupli.spool.checksums import Checksums, sums_path
from tupli.spool.manifest import Manifest
from tupli.spool.segment import Segment
from tupli.transport import FakeTransport, Transport

STEPS = 100


@contextmanager
def dead_spool(folder: Path, size: int = 2, transport: Transport | None = None) -> Iterator[Path]:
    """The directory of a stream whose owner is dead: `STEPS` steps of an open episode, nothing delivered.

    Observations are `size` float64; rewards are 1, actions and infos count. It is for the server of `transport`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipper.Background, "ship_once", lambda self, now: False)
        patch.setattr(shipper.Background, "adopt", lambda self, directory, transport: None)
        rec = Recorder("any", transport=transport or FakeTransport(), spool_dir=folder, drain_timeout=0.0)
        rec.start(np.zeros(size))
        for i in range(STEPS):
            rec.step(i, np.full(size, i + 1.0), 1.0, False, False, {"i": i})
        job = rec._stream.job
        assert isinstance(job, StreamJob)
        shipper.background().forget(job)
        (path,) = folder.glob("*/*/")
        manifest = Manifest.read(path)
        replace(manifest, owner=replace(manifest.owner, pid=2**22 + 5)).write(path)
    yield path
    rec._stream.closed = True
    lifetime._live.discard(rec._stream)


@contextmanager
def two_dead(folder: Path, transport: Transport | None = None) -> Iterator[tuple[Path, Path]]:
    """The directories of two dead streams in one spool, in the order in which a flush delivers them."""
    with many_dead(folder, 2, transport) as (first, second):
        yield first, second


@contextmanager
def many_dead(folder: Path, count: int, transport: Transport | None = None) -> Iterator[list[Path]]:
    """The directories of several dead streams in one spool, in the order in which a flush delivers them."""
    with ExitStack() as stack:
        paths = [stack.enter_context(dead_spool(folder, transport=transport))]
        for number in range(1, count):
            made = stack.enter_context(dead_spool(folder / f"more{number}", transport=transport))
            paths.append(made.rename(paths[0].parent / made.name))
            shutil.rmtree(folder / f"more{number}")
        yield sorted(paths)


def damage(path: Path, what: str) -> None:
    """Damage a stream's first segment: "schema" is met where events are made of it, "control" also where it is closed."""
    file = path / "00000001.seg"
    if what == "schema":
        file.write_bytes(file.read_bytes().replace(b'"step_schema"', b'"step_schemb"'))
    else:
        Segment.open(file).control[control.HEAD.size : control.HEAD.size + 1] = b"?"


def cover(path: Path, spoil: Callable[[Segment], None] | None = None) -> list[int]:
    """Checksums of all that the stream's segments hold, then perhaps something that breaks them; rows of each."""
    rows = []
    for file in sorted(path.glob("*.seg")):
        segment = Segment.open(file)
        sums_path(file).unlink(missing_ok=True)
        Checksums(segment).update()
        rows.append(segment.published()[0])
        if spoil is not None:
            spoil(segment)
    return rows
