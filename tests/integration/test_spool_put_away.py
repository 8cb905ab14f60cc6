"""Segments that wait to be sent are not mapped, and so hold no file open; they are mapped again for their turn."""

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.loop_oracle import recorded_runs
from tupli.errors import SpoolFull, TransportError, TupliWarning
from tupli.recording import Recorder, shipper, shortage
from tupli.recording.job import StreamJob
from tupli.spool import writer as writer_module
from tupli.spool.directory import SpoolDirectory
from tupli.spool.layout import SegmentShape
from tupli.spool.segment import Segment
from tupli.spool.writer import StreamWriter
from tupli.transport import FakeTransport
from tupli_schemas.events import Event
from tupli_schemas.steps import Layout

LAYOUT = Layout.parse("o=f4[4];a=f4[6];x=")
SIZE = 1_000
EPISODE = 25


def mapped(paths: list[Path]) -> list[Path]:
    """Those that this process has mapped."""
    maps = Path("/proc/self/maps").read_text()
    return [path for path in paths if f"{path.resolve()}\n" in maps]


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    shape = SegmentShape(LAYOUT, 1, 100, 4096, 4096)
    segment = Segment.create(tmp_path / "00000001.seg", shape, {"layout": LAYOUT.text})
    segment.columns["o0"][:] = np.arange(4)
    segment.heap[8:12] = b"heap"
    segment.word[0] = 7 | 1 << 63
    segment.acknowledge(3, 0)
    return segment


def test_what_is_put_away_is_not_mapped_and_still_counted(segment: Segment) -> None:
    assert mapped([segment.path]) == [segment.path]
    segment.put_away()
    segment.put_away()
    assert mapped([segment.path]) == []
    assert (segment.is_away, segment.published(), segment.unacknowledged) == (True, (7, 0, True), 4)
    assert (segment.done, segment.columns, bytes(segment.heap)) == (False, {}, b"")


def test_what_is_taken_up_is_the_file_again(segment: Segment) -> None:
    segment.put_away()
    segment.take_up()
    assert (segment.is_away, segment.published(), segment.unacknowledged) == (False, (7, 0, True), 4)
    assert (segment.columns["o0"] == np.arange(4)).all()
    assert bytes(segment.heap[8:12]) == b"heap"
    segment.acknowledge(7, 0)
    assert Segment.open(segment.path).done


def test_at_hand_is_as_before_afterwards(segment: Segment) -> None:
    with segment.at_hand():
        assert not segment.is_away
    assert not segment.is_away
    segment.put_away()
    with pytest.raises(KeyError), segment.at_hand():
        assert segment.columns["o1"] is None
    assert segment.is_away


def test_a_file_that_is_gone_is_told(segment: Segment) -> None:
    segment.put_away()
    segment.path.unlink()
    with pytest.raises(FileNotFoundError):
        segment.take_up()
    assert segment.is_away


def down(_: list[Event]) -> None:
    raise TransportError("down")


def until(told: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not told():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def play(rec: Recorder, episodes: int, first: int = 0) -> None:
    """Episodes that fill some segments of the least size; rewards tell the episode."""
    for episode in range(first, first + episodes):
        rec.start(np.full(SIZE, episode, np.float64))
        for step in range(EPISODE):
            over = step == EPISODE - 1
            rec.step(step, np.full(SIZE, episode + step / 100), float(episode), over, False)


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MIN_SEGMENT", 1 << 18)
    monkeypatch.setattr(writer_module, "MAX_SEGMENT", 1 << 18)


@pytest.mark.usefixtures("small_segments")
def test_a_long_run_without_a_server_has_few_segments_mapped_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper, "REQUEST_BYTES", 1 << 17)
    transport = FakeTransport()
    transport.before_send = down
    rec = Recorder("b", transport=transport, spool_dir=tmp_path)
    play(rec, 40)
    files = sorted(tmp_path.rglob("*.seg"))
    assert len(files) > 20
    until(lambda: len(mapped(files)) <= 4)  # those of the request, the one written, the next
    job = rec._stream.job
    assert job is not None
    assert job.unacknowledged == 40 * (EPISODE + 1)
    transport.before_send = lambda _: None
    rec.close()
    runs = recorded_runs(transport.events)
    assert [run.observations[-1][0] for run in runs] == [episode + 0.24 for episode in range(40)]
    assert [len(run.actions) for run in runs] == [EPISODE] * 40
    assert not list(tmp_path.rglob("*.seg"))
    assert mapped(files) == []


@pytest.mark.usefixtures("small_segments")
def test_what_is_not_closed_keeps_all_behind_it_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper.Background, "ship_once", lambda self, now: False)
    monkeypatch.setattr(shipper.Background, "jobs", lambda self: [])
    rec = Recorder("b", transport=FakeTransport(), spool_dir=tmp_path, drain_timeout=0.0)
    play(rec, 4)
    job = rec._stream.job
    assert isinstance(job, StreamJob)
    second = list(job._segments)[1]
    word = second.word[0]
    second.word[0] = word & ~(1 << 63)
    job.upkeep.put_away()
    assert [segment.is_away for segment in job._segments] == [False] * len(job._segments)
    second.word[0] = word
    job.upkeep.put_away()
    count = len(job._segments)
    assert [segment.is_away for segment in job._segments] == [False, *[True] * (count - 2), False]
    monkeypatch.undo()
    rec._stream.finish("closed")
    until(job.done.is_set)


class NoFiles:
    """Segments that cannot be made while `short`, for the process has too many open files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.short = False
        real = Segment.create

        def create(path: Path, shape: SegmentShape, meta: dict[str, Any]) -> Segment:
            if self.short:
                raise OSError(errno.EMFILE, "Too many open files")
            return real(path, shape, meta)

        monkeypatch.setattr(Segment, "create", staticmethod(create))


@pytest.mark.usefixtures("small_segments")
def test_too_many_open_files_cost_the_episode_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, transport = NoFiles(monkeypatch), FakeTransport()
    rec = Recorder("b", transport=transport, spool_dir=tmp_path)
    play(rec, 1)
    files.short = True
    with pytest.warns(TupliWarning, match="aborted .TooManyFiles: no segment of .* Too many open files"):
        play(rec, 4, first=1)
    files.short = False
    play(rec, 2, first=5)
    rec.close()
    ends = [run.end for run in recorded_runs(transport.events)]
    assert not any(end is None for end in ends)
    whole = {end.return_ for end in ends if end is not None and end.n_steps == EPISODE}
    assert {0.0, 5.0 * EPISODE, 6.0 * EPISODE} <= whole


@pytest.mark.usefixtures("small_segments")
def test_too_many_open_files_for_long_are_a_full_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = NoFiles(monkeypatch)
    monkeypatch.setattr(shortage, "LASTING_SECONDS", 0.0)
    rec = Recorder("b", transport=FakeTransport(), spool_dir=tmp_path)
    play(rec, 1)
    files.short = True
    with pytest.warns(TupliWarning, match="recording stopped: no segment of .* Too many open files"):
        play(rec, 4, first=1)
    with pytest.raises(SpoolFull):
        rec.close()


def test_a_stream_that_was_finished_is_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = SpoolDirectory(tmp_path)
    writer = StreamWriter(directory, directory.stream_path("fake://", "stream"), 1)
    writer.begin(LAYOUT, {})
    writer.row = 3
    writer.finish()
    seen: list[object] = []
    monkeypatch.setattr(writer, "publish", seen.append)
    writer.finish()
    assert (writer.segment.published(), seen) == ((3, 0, True), [])
