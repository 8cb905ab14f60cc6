"""Nothing counts as acknowledged before the server has it, wherever requests and segments end."""

import os
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.loop_oracle import recorded_runs
from tupli.errors import TransportError
from tupli.recording import Recorder
from tupli.recording.flush import flush_dead, status
from tupli.spool.directory import SpoolDirectory
from tupli.spool.layout import unpack_word
from tupli.spool.segment import Segment
from tupli.transport import FakeTransport
from tupli_schemas.events import Event


def away(_: list[Event]) -> None:
    raise TransportError("away")


def acknowledged(spool: Path) -> list[int]:
    """Rows of each segment that count as acknowledged."""
    return [unpack_word(Segment.open(file).acknowledged[0])[0] for file in sorted(spool.rglob("*.seg"))]


def walk(transport: FakeTransport, spool: Path, steps: int, width: int) -> Recorder:
    rec = Recorder("any", transport=transport, spool_dir=spool, drain_timeout=30)
    rec.start(np.zeros(width, np.float32))
    for step in range(steps):
        rec.step(step, np.full(width, step, np.float32), 1.0, False, False)
    return rec


def wait_for(condition: Any) -> None:

    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


@pytest.mark.filterwarnings("ignore::tupli.telling.TupliWarning")
@pytest.mark.parametrize(("steps", "width"), [(90_000, 2), (3_000, 2_000)])
def test_while_the_server_is_away_nothing_is_acknowledged(steps: int, width: int, tmp_path: Path) -> None:
    transport = FakeTransport()
    transport.before_send = away
    rec = walk(transport, tmp_path, steps, width)
    wait_for(lambda: len(acknowledged(tmp_path)) > 2)

    time.sleep(1.0)  # some requests
    assert set(acknowledged(tmp_path)) == {0}
    assert status(tmp_path)[0].rows >= steps
    transport.before_send = lambda _: None
    rec.close()
    (run,) = recorded_runs(transport.events)
    assert len(run.actions) == steps


@pytest.mark.filterwarnings("ignore::tupli.telling.TupliWarning")
@pytest.mark.parametrize("share", [64 * 1024, 700_000, 4 << 20])
def test_what_a_killed_process_left_is_delivered_whole_however_it_was_taken(
    share: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests of another size end elsewhere in the segments than those that had failed."""
    steps, width = 900, 2_000
    pid = os.fork()
    if pid == 0:
        transport = FakeTransport()
        transport.before_send = away
        warnings.simplefilter("ignore")
        walk(transport, tmp_path, steps, width)

        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert set(acknowledged(tmp_path)) == {0}
    monkeypatch.setattr("tupli.recording.flush.REQUEST_BYTES", share)
    transport = FakeTransport()
    report = flush_dead(SpoolDirectory(tmp_path), transport)
    assert (report.left, report.problems) == (0, [])
    (run,) = recorded_runs(transport.events)
    assert len(run.actions) == steps
