"""One stream, or one server, that cannot be dealt with: it waits by itself, and all others go on."""

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from support.dead_spool import STEPS, damage, two_dead
from support.loop_oracle import recorded_runs
from support.telling import telling
from tupli.errors import TransportError, TupliWarning
from tupli.recording import Recorder, lifetime, shipper
from tupli.recording.flush import dead_jobs, flush_dead, status
from tupli.recording.shipper import Background
from tupli.spool.directory import SpoolDirectory
from tupli.spool.manifest import Manifest, StreamState
from tupli.transport import FakeTransport
from tupli_schemas.events import Event

LATER = 100.0


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    with two_dead(tmp_path) as paths:
        yield paths


@contextmanager
def background_of(folder: Path, transport: FakeTransport) -> Iterator[Background]:
    """A background without threads that looks after the dead streams of a spool."""
    background = Background()
    background._jobs += dead_jobs(SpoolDirectory(folder), transport)
    yield background
    for job in background.jobs():
        job.let_go()


def ship(background: Background, times: int = 3) -> None:
    """Some rounds, each late enough for whatever waits."""
    for _ in range(times):
        background.ship_once(time.monotonic() + LATER)


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.glob("*.seg")}


# --- the background -------------------------------------------------------------------------------------------------


def test_a_stream_that_cannot_be_read_stops_no_other(
    dead: tuple[Path, Path], tmp_path: Path, transport: FakeTransport
) -> None:
    damaged, healthy = dead
    damage(damaged, "schema")
    with background_of(tmp_path, transport) as background, telling() as told:
        before = files(damaged)
        ship(background)
        (job,) = background.jobs()
        assert job.path == damaged
        assert not job.is_due(time.monotonic())
        assert background.why(job) == "KeyError: 'step_schema'"
    assert not healthy.exists()
    assert files(damaged) == before
    (run,) = recorded_runs(transport.events)
    assert len(run.actions) == STEPS
    (line,) = told
    assert f"stream {damaged.name} cannot be delivered (KeyError: 'step_schema')" in line
    assert [(one.stream, one.problem) for one in status(tmp_path)] == [
        (damaged.name, "KeyError: 'step_schema'")
    ]


def test_a_stream_whose_events_the_transport_chokes_on_stops_no_other(
    dead: tuple[Path, Path], tmp_path: Path, transport: FakeTransport
) -> None:
    """Both are of one request."""
    choking, healthy = dead
    bad = Manifest.read(choking).stream_id

    def choke(events: list[Event]) -> None:
        if any(event.stream == bad for event in events):
            raise RuntimeError("a bug")

    transport.before_send = choke
    with background_of(tmp_path, transport) as background, telling() as told:
        ship(background)
        assert [job.path for job in background.jobs()] == [choking]
        assert not healthy.exists()
        assert files(choking)
        transport.before_send = lambda events: None
        ship(background)
        assert background.jobs() == []
    assert len(told) == 1
    assert len(recorded_runs(transport.events)) == 2


def test_a_stream_that_cannot_be_settled_stops_no_other(
    dead: tuple[Path, Path], tmp_path: Path, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, healthy = dead
    write = StreamState.write

    def fail(state: StreamState, directory: Path) -> None:
        if directory == stuck:
            raise OSError(errno.EIO, "cannot be written")
        write(state, directory)

    with background_of(tmp_path, transport) as background, telling() as told:
        with monkeypatch.context() as patch:
            patch.setattr(StreamState, "write", fail)
            ship(background)
            (job,) = background.jobs()
            assert (job.path, healthy.exists(), bool(files(stuck))) == (stuck, False, True)
            assert "cannot be written" in Manifest.read(stuck).problem
        ship(background)
        assert job.done.is_set()
        assert background.why(job) == ""
    assert len(told) == 1
    assert not stuck.exists()


def test_what_cannot_even_be_closed_is_told(
    dead: tuple[Path, Path], tmp_path: Path, transport: FakeTransport
) -> None:
    damaged, healthy = dead
    damage(damaged, "control")
    background = Background()
    background.adopt(SpoolDirectory(tmp_path), transport)
    with telling() as told:
        background._adopt()
        ship(background)
    assert (damaged.exists(), healthy.exists(), background.jobs()) == (True, False, [])
    assert [f"stream {damaged.name} stays: " in line for line in told] == [True]
    (left,) = status(tmp_path)
    assert (left.stream, left.rows) == (damaged.name, STEPS)
    assert left.problem


def test_a_transport_with_a_bug_stops_no_other_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(events: list[Event]) -> None:
        raise RuntimeError("a bug")

    bad, good = FakeTransport(address="memory://bad"), FakeTransport(address="memory://good")
    bad.before_send = fail
    with telling() as told:
        recorders = [
            Recorder("any", transport=one, spool_dir=tmp_path, drain_timeout=wait)
            for one, wait in ((bad, 0.3), (good, 20.0))
        ]
        for rec in recorders:
            rec.start(np.zeros(2))
            for i in range(STEPS):
                rec.step(i, np.zeros(2), 0.0, False, False)
        for rec in recorders:
            rec.close()
    (run,) = recorded_runs(good.events)
    assert len(run.actions) == STEPS
    assert [line for line in told if "shipping" in line] == [
        "shipping to memory://bad met RuntimeError: a bug; it is tried again; recording goes on into the spool"
    ]
    (line,) = (line for line in told if "still in the spool" in line)
    assert line.startswith(f"{STEPS + 1} rows")
    assert "(RuntimeError: a bug)" in line
    job = recorders[0]._stream.job
    assert job is not None
    job.told = False
    monkeypatch.setattr(shipper.background(), "jobs", lambda: [job])
    with pytest.warns(TupliWarning, match=r"rows are still in the spool \(RuntimeError: a bug\)"):
        lifetime._drain_at_exit()
    monkeypatch.undo()
    shipper.background().forget(job)


# --- the flush ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["schema", "control"])
def test_a_flush_goes_on_behind_a_damaged_stream(
    what: str, dead: tuple[Path, Path], tmp_path: Path, transport: FakeTransport
) -> None:
    damaged, healthy = dead
    damage(damaged, what)
    report = flush_dead(tmp_path, transport)
    assert (report.streams, report.episodes, report.steps) == (1, 1, STEPS)
    (problem,) = report.problems
    assert damaged.name in problem
    assert (bool(files(damaged)), healthy.exists()) == (True, False)
    again = flush_dead(tmp_path, transport)
    assert (again.streams, again.steps, len(again.problems)) == (0, 0, 1)


def test_a_flush_counts_what_was_delivered_of_a_stream_that_then_fails(
    dead: tuple[Path, Path], tmp_path: Path, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_later(events: list[Event]) -> None:
        if transport.requests == 3:
            raise RuntimeError("a bug")

    monkeypatch.setattr("tupli.recording.flush.REQUEST_BYTES", 1)
    monkeypatch.setattr("tupli.spool.reader.MAX_RECORD_BYTES", 512)
    transport.before_send = fail_later
    report = flush_dead(tmp_path, transport)
    (run,) = recorded_runs(transport.events)
    assert 0 < report.steps == len(run.actions) < STEPS
    assert (report.streams, len(report.problems)) == (0, 2)


def test_a_flush_ends_where_the_server_is_gone(
    dead: tuple[Path, Path], tmp_path: Path, transport: FakeTransport
) -> None:
    def fail(events: list[Event]) -> None:
        raise TransportError("gone")

    transport.before_send = fail
    with pytest.raises(TransportError):
        flush_dead(tmp_path, transport)
    assert [one.problem for one in status(tmp_path)] == ["", ""]
