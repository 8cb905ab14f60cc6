"""Many streams of dead processes in one spool: a few of them are open at once, and all are delivered."""

import errno
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from support.dead_spool import STEPS, damage, many_dead
from support.loop_oracle import recorded_runs
from support.telling import telling
from tupli.errors import TransportError, TupliWarning
from tupli.recording import flush, lifetime, shipper
from tupli.recording.shipper import Background
from tupli.spool.directory import SpoolDirectory
from tupli.spool.manifest import Manifest
from tupli.spool.owner import _held
from tupli.spool.seal import DeadStream, close_dead
from tupli.transport import FakeTransport
from tupli_schemas.events import Event

STREAMS: Final = 5
PLACES: Final = 2


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def dead(tmp_path: Path, transport: FakeTransport) -> Iterator[list[Path]]:
    with many_dead(tmp_path, STREAMS, transport) as paths:
        yield paths


@pytest.fixture
def background(tmp_path: Path, transport: FakeTransport) -> Iterator[Background]:
    """A background without threads, with few places for dead streams."""
    background = Background(PLACES)
    background.adopt(SpoolDirectory(tmp_path), transport)
    yield background
    for job in background.jobs():
        job.let_go()


def round_of(background: Background) -> list[Path]:
    """What the thread that ships does once; the streams that are open then."""
    background._adopt()
    taken = [job.path for job in background.jobs()]
    assert opened(taken) == taken
    background.ship_once(time.monotonic() + 60)
    return taken


def opened(paths: list[Path]) -> list[Path]:
    """Those whose lock is held."""
    return [path for path in paths if str(path.resolve() / "lock") in _held]


def test_a_few_are_taken_over_and_then_the_next(
    dead: list[Path], background: Background, transport: FakeTransport
) -> None:
    rounds = []
    while background.is_adopting or background.jobs():
        rounds.append(round_of(background))
        assert len(opened(dead)) <= PLACES
    assert rounds == [dead[:2], dead[2:4], dead[4:]]
    assert [len(run.actions) for run in recorded_runs(transport.events)] == [STEPS] * STREAMS
    assert not any(path.exists() for path in dead)


def test_while_the_server_is_down_the_others_wait(
    dead: list[Path], background: Background, transport: FakeTransport
) -> None:
    def fail(_: list[Event]) -> None:
        raise TransportError("down")

    transport.before_send = fail
    for _ in range(4):
        assert round_of(background) == dead[:2]
    assert opened(dead) == dead[:2]
    assert background.is_adopting


def test_streams_that_cannot_be_delivered_give_their_places_to_others(
    dead: list[Path], background: Background, transport: FakeTransport
) -> None:
    for path in dead[:2]:
        damage(path, "schema")
    with pytest.warns(TupliWarning, match="cannot be delivered"):
        rounds = [round_of(background) for _ in range(4)]
    assert rounds == [dead[:2], dead[2:4], dead[4:], []]
    assert [path.exists() for path in dead] == [True, True, False, False, False]
    assert opened(dead) == []


def test_a_stream_that_no_other_waits_for_keeps_its_place(dead: list[Path], background: Background) -> None:
    damage(dead[-1], "schema")
    with pytest.warns(TupliWarning, match="cannot be delivered"):
        rounds = [round_of(background) for _ in range(5)]
    assert rounds[2:] == [dead[-1:]] * 3
    assert opened(dead) == dead[-1:]
    assert [job.path for job in background.jobs()] == dead[-1:]


def test_a_flush_opens_one_after_another_and_reports_all(
    dead: list[Path], tmp_path: Path, transport: FakeTransport
) -> None:
    most: list[int] = []
    transport.before_send = lambda _: most.append(len(opened(dead)))
    damage(dead[1], "schema")
    report = flush.flush_dead(tmp_path, transport)
    assert set(most) == {1}
    assert (report.streams, report.episodes, report.steps) == (
        STREAMS - 1,
        STREAMS - 1,
        (STREAMS - 1) * STEPS,
    )
    assert (report.rows, report.left, len(report.problems)) == ((STREAMS - 1) * (STEPS + 1), STEPS + 1, 1)


def test_a_flush_that_is_cut_short_has_told_what_is_delivered(
    dead: list[Path], tmp_path: Path, transport: FakeTransport
) -> None:
    def fail_third(_: list[Event]) -> None:
        if transport.requests == 2:
            raise TransportError("gone")

    transport.before_send = fail_third
    report = flush.FlushReport()
    with pytest.raises(TransportError):
        flush.flush_dead(tmp_path, transport, report)
    assert (report.streams, report.steps, report.rows) == (2, 2 * STEPS, 2 * (STEPS + 1))
    assert opened(dead) == []


def test_without_files_those_behind_stay_and_are_told_of_once(
    dead: list[Path], tmp_path: Path, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close_until_third(path: Path, manifest: Manifest, unproven: Path) -> DeadStream:
        if path == dead[2]:
            raise OSError(errno.EMFILE, "Too many open files")
        return close_dead(path, manifest, unproven)

    monkeypatch.setattr(flush, "close_dead", close_until_third)
    report = flush.flush_dead(tmp_path, transport)
    assert report.streams == 2
    (problem,) = report.problems
    assert problem.startswith(f"stream {dead[2].name} and those behind it stay: [Errno {errno.EMFILE}]")
    assert opened(dead) == []


def test_at_exit_all_are_delivered(
    dead: list[Path], tmp_path: Path, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    background = Background(PLACES)
    monkeypatch.setattr(shipper, "_background", background)
    monkeypatch.setattr(lifetime, "_live", ())  # the streams were this process's
    background.adopt(SpoolDirectory(tmp_path), transport)
    background._adopt()
    first = background.jobs()[0]
    background.add(first)  # starts the threads
    lifetime._drain_at_exit()
    assert not any(path.exists() for path in dead)


def test_at_exit_more_may_be_left_than_was_counted(
    dead: list[Path], tmp_path: Path, transport: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: list[Event]) -> None:
        raise TransportError("down")

    transport.before_send = fail
    background = Background(PLACES)
    monkeypatch.setattr(shipper, "_background", background)
    monkeypatch.setattr(lifetime, "_live", ())  # the streams were this process's
    background.adopt(SpoolDirectory(tmp_path), transport)
    round_of(background)
    with telling() as told:
        lifetime._drain_at_exit()
    (line,) = told
    assert line.startswith(f"at least {PLACES * (STEPS + 1)} rows are still in the spool")
    for job in background.jobs():
        job.let_go()
