"""A disk without room for a stream's state: what is acknowledged stays until there is, and nothing is lost or doubled."""

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.dead_spool import STEPS, dead_spool
from support.loop_oracle import recorded_runs
from tupli.recording.delivery import deliver, framed
from tupli.recording.flush import DeadJob, dead_jobs, flush_dead
from tupli.spool.directory import SpoolDirectory
from tupli.spool.manifest import Manifest, SlotState, StreamState
from tupli.transport import FakeTransport


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A dead stream of several segments."""
    with dead_spool(tmp_path / "spool", 8_192) as path:
        yield path


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


def job_of(path: Path, transport: FakeTransport) -> DeadJob:
    (job,) = dead_jobs(SpoolDirectory(path.parents[1]), transport)
    return job


def ship(job: DeadJob) -> None:
    """One small request, as the shipper sends it."""
    deliver(job.transport, framed(job, job.take(1)))
    job.release()


def segments(path: Path) -> list[str]:
    return [file.name for file in sorted(path.glob("*.seg"))]


def fail(patch: pytest.MonkeyPatch, code: int) -> None:
    def write(self: StreamState, directory: Path) -> None:
        raise OSError(code, "cannot be written")

    patch.setattr(StreamState, "write", write)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_segment_stays_until_its_state_can_be_written(
    code: int, path: Path, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(path, transport)
    every = segments(path)  # without a spare, which is removed first
    with monkeypatch.context() as patch:
        fail(patch, code)
        while len(job._releasable) < 2:
            ship(job)
        assert segments(path) == every
        assert not (path / "state.json").exists()
    ship(job)
    assert segments(path) == every[2:]
    state = StreamState.read(path, 1)
    assert (state.segment, state.slots[0].episode) == (3, 1)
    while not job.done.is_set():
        ship(job)
    assert len(recorded_runs(transport.events)[0].actions) == STEPS


def test_whoever_comes_next_goes_on_where_the_state_was_not_written(
    path: Path, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies while the disk is full: segments say themselves what is acknowledged."""
    job = job_of(path, transport)
    with monkeypatch.context() as patch:
        fail(patch, errno.ENOSPC)
        while len(job._releasable) < 2:
            ship(job)
    job.let_go()
    sent = len(transport.events)
    assert flush_dead(path.parents[1], transport).streams == 1
    firsts = [event.first for event in transport.events]
    assert len(set(firsts)) == len(firsts), "nothing was sent twice"
    assert len(transport.events) > sent
    (run,) = recorded_runs(transport.events)
    assert [int(observation[0]) for observation in run.observations] == list(range(STEPS + 1))


def test_a_disk_that_stays_full_is_emptied_all_the_same(
    path: Path, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, errno.ENOSPC)
    report = flush_dead(path.parents[1], transport)
    assert (report.streams, report.steps, report.left, report.problems) == (1, STEPS, 0, [])
    assert not path.exists()


def test_another_error_is_not_taken_for_a_full_disk(
    path: Path, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, errno.EIO)
    report = flush_dead(path.parents[1], transport)
    (problem,) = report.problems
    assert "cannot be written" in problem
    assert report.streams == 0
    assert report.left > 0
    assert segments(path)


@pytest.mark.parametrize("what", ["state", "manifest"])
def test_a_file_is_written_whole_or_not_at_all(
    what: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest.read(path)
    state = StreamState(1, 1, (SlotState(),))
    state.write(path)
    before = {file.name: file.read_bytes() for file in path.glob("*.json")}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        (StreamState(2, 50, (SlotState(1),)) if what == "state" else replace(manifest, ended=True)).write(
            path
        )
    assert {file.name: file.read_bytes() for file in path.glob("*.json")} == before
    assert not list(path.glob(".*"))
