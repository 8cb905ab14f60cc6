"""Another server at the same address, or one whose benchmark was deleted: it must not swallow what it cannot place."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.dead_spool import STEPS, dead_spool
from support.loop_oracle import recorded_runs
from tupli.errors import NotFound
from tupli.recording import Recorder, job
from tupli.recording.flush import flush_dead, status
from tupli.spool.directory import SpoolDirectory
from tupli.transport import FakeTransport
from tupli_schemas.events import EpisodeStarted, Event, StepsRecorded
from tupli_schemas.problems import Problem


def knowing(*names: str) -> Callable[[list[Event]], None]:
    """A server that has only these benchmarks."""

    def before_send(events: list[Event]) -> None:
        for index, event in enumerate(events):
            if isinstance(event, EpisodeStarted) and event.benchmark.name not in names:
                place = f"events[{index}].benchmark"
                problem = Problem("unknown_benchmark", "no such benchmark", place, members={"index": index})
                raise NotFound(problem.detail, place=place, problem=problem)

    return before_send


def naming(event: Event) -> bytes:
    """The benchmark that an event is for."""
    return event.benchmark.id if isinstance(event, EpisodeStarted) else event.benchmark_id


def refuse_all(events: list[Event]) -> None:
    """Another server, that has none of the benchmarks."""
    assert all(naming(event) == naming(events[0]) for event in events)
    place = "events[0].benchmark_id"
    raise NotFound("no", place=place, problem=Problem("unknown_benchmark", "no", place, members={"index": 0}))


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


def test_a_flush_to_another_server_leaves_the_stream_for_its_own(
    transport: FakeTransport, tmp_path: Path
) -> None:
    with dead_spool(tmp_path / "spool", transport=transport) as path:
        spool = SpoolDirectory(path.parents[1])
        transport.before_send = knowing("others")
        for _ in range(2):
            report = flush_dead(spool, transport)
            assert (report.steps, report.rejected) == (0, 0)
            assert report.left >= STEPS
            assert any("does not know benchmark 'any'" in problem for problem in report.problems)
        assert "no such benchmark" in status(spool)[0].problem
        assert transport.events == []
        transport.before_send = knowing("any")
        report = flush_dead(spool, transport)
        assert (report.steps, report.left, report.problems) == (STEPS, 0, [])
    (run,) = recorded_runs(transport.events)
    assert len(run.actions) == STEPS


def test_a_live_stream_stays_and_the_others_go_on(transport: FakeTransport, tmp_path: Path) -> None:
    transport.before_send = knowing("known")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        recorders = {
            name: Recorder(name, transport=transport, spool_dir=tmp_path, drain_timeout=1.0)
            for name in ("unknown", "known")
        }
        for rec in recorders.values():
            rec.start(np.zeros(2))
        for step in range(STEPS):
            for rec in recorders.values():
                rec.step(step, np.zeros(2), 1.0, step == STEPS - 1, False)
            time.sleep(0.002)  # in several requests
        for rec in recorders.values():
            rec.close()
    runs = recorded_runs(transport.events)
    assert [(run.start.benchmark.name, len(run.actions)) for run in runs if run.start] == [("known", STEPS)]
    assert any("does not know benchmark 'unknown'" in str(one.message) for one in told)
    waiting = {one.benchmark: one.rows for one in status(tmp_path)}
    assert waiting == {"unknown": STEPS + 1}
    assert not list((tmp_path / "rejected").glob("*"))


def test_in_the_middle_of_an_episode_another_server_gets_nothing_and_the_right_one_all(
    transport: FakeTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "UNKNOWN_SECONDS", 0.3)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with Recorder("any", transport=transport, spool_dir=tmp_path) as rec:
            rec.start(np.zeros(2))
            walk(rec, 0, STEPS)
            wait_for(lambda: len(rows_of(transport.events)) == STEPS)
            transport.before_send = refuse_all
            walk(rec, STEPS, 2 * STEPS)
            wait_for(lambda: bool(status(tmp_path)[0].problem))
            transport.before_send = lambda _: None  # it is back at its address
            walk(rec, 2 * STEPS, 3 * STEPS)
            wait_for(lambda: len(rows_of(transport.events)) == 3 * STEPS)
            wait_for(lambda: not status(tmp_path)[0].problem)
            rec.end()
    assert rows_of(transport.events) == list(range(3 * STEPS))
    assert len({naming(event) for event in transport.events}) == 1
    assert len([one for one in told if "does not know benchmark" in str(one.message)]) == 1
    assert not list((tmp_path / "rejected").glob("*"))


def walk(rec: Recorder, first: int, end: int) -> None:
    for step in range(first, end):
        rec.step(step, np.zeros(2), 1.0, False, False)


def rows_of(events: list[Event]) -> list[int]:
    """The actions of all transitions, in the order they came."""
    batches = [event.rows() for event in events if isinstance(event, StepsRecorded)]
    return [
        action
        for batch in batches
        for action, final in zip(
            batch.column("a0").to_pylist(), batch.column("is_final").to_pylist(), strict=True
        )
        if not final
    ]


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)
