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
from tupli.recording import Recorder
from tupli.recording.flush import flush_dead, status
from tupli.spool.directory import SpoolDirectory
from tupli.transport import FakeTransport
from tupli_schemas.events import EpisodeStarted, Event
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
