"""What segments take of memory, and that the next one is there before it is needed."""

from pathlib import Path

import numpy as np

from tupli.recording.job import StreamJob
from tupli.recording.opening import new_stream
from tupli.spool.directory import SpoolDirectory
from tupli.spool.layout import SegmentShape
from tupli.spool.manifest import BenchmarkState, Manifest
from tupli.spool.owner import this_process
from tupli.spool.segment import Segment
from tupli.spool.writer import StreamWriter
from tupli.transport import FakeTransport
from tupli_schemas.ids import id_text, make_id
from tupli_schemas.steps import Layout

LAYOUT = Layout.parse("o=f4[1024];a=f4[6];x=")


def resident(path: Path) -> int:
    """Bytes of a mapped file that are in this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    for line in lines:
        if line.endswith(str(path)):
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss:"))
    return 0


def test_pages_that_were_let_go_are_still_the_files(tmp_path: Path) -> None:
    shape = SegmentShape(LAYOUT, 2, 1_000, 4096, 4096)
    segment = Segment.create(tmp_path / "00000001.seg", shape, {"layout": LAYOUT.text})
    segment.columns["o0"][:] = np.arange(1024)
    assert resident(segment.path) > 4_000_000
    segment.let_pages_go()
    assert resident(segment.path) < 100_000
    assert (segment.columns["o0"] == np.arange(1024)).all()


def test_what_waits_for_its_turn_is_not_in_memory(tmp_path: Path) -> None:
    directory = SpoolDirectory(tmp_path)
    transport = FakeTransport()
    manifest = Manifest(
        stream=id_text(make_id(1, 2)),
        address=transport.address,
        identity="",
        owner=this_process(),
        benchmark=BenchmarkState(id=id_text(make_id(3, 4)), name="b"),
        slots=1,
        run="",
        policy=None,
        environment={},
        versions={},
        publish_in=(),
    )
    path, lock = new_stream(directory, manifest)
    writer = StreamWriter(directory, path, 1)
    job = StreamJob(transport, directory, path, manifest, lock, writer)
    writer.on_segment = job.add_segment
    writer.begin(LAYOUT, {"step_schema": {}})
    segments = []
    for _ in range(4):
        segments.append(writer.segment)
        writer.row = writer.segment.shape.rows // 2
        writer.publish()
        writer.roll()
        writer.publish()
    job.upkeep.put_away()
    sizes = [resident(segment.path) / segment.size for segment in segments]
    assert sizes[0] > 0.5  # the next to be read
    assert max(sizes[1:]) < 0.2
    assert resident(writer.segment.path) > 0.5 * writer.segment.size
    job.let_go()


def test_the_next_segment_is_made_when_the_one_before_has_told_what_infos_take(tmp_path: Path) -> None:
    directory = SpoolDirectory(tmp_path)
    writer = StreamWriter(directory, directory.stream_path("fake://", "stream"), 1)
    writer.begin(LAYOUT, {})
    writer.prepare()
    assert len(list(tmp_path.rglob("*.seg"))) == 1  # nothing is known yet
    writer.row = writer.segment.shape.rows // 2
    for _ in range(10):
        writer.put_bytes(b"x" * 1_000)
    writer.roll()
    writer.prepare()
    assert len(list(tmp_path.rglob("*.seg"))) == 3
    first = writer.segment
    writer.roll()
    assert writer.segment.shape.heap > 10_000 * first.shape.rows / writer.segment.shape.rows
    writer.drop_spare()
