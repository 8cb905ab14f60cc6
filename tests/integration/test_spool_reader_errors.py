"""A reader that meets an error goes on behind the last event that it gave: nothing is counted twice or left out."""

from pathlib import Path
from typing import Any

import pytest

from support.dead_spool import STEPS, dead_spool
from support.loop_oracle import recorded_runs
from tupli.recording.delivery import deliver, framed
from tupli.recording.flush import dead_jobs
from tupli.spool import reader
from tupli.spool.directory import SpoolDirectory
from tupli.spool.slots import Slots
from tupli.transport import FakeTransport

FAILING = {
    "rows": (reader, "encode_rows"),
    "end": (reader, "EpisodeEnded"),
    "start": (reader, "EpisodeStarted"),
}


@pytest.mark.parametrize("what", [*FAILING, "digest"])
def test_every_event_is_read_once_though_memory_ran_out(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, name = FAILING.get(what, (Slots, "_digest"))
    real, calls = getattr(place, name), [0]

    def failing(*args: Any, **given: Any) -> Any:
        calls[0] += 1
        if calls[0] % 2:
            raise MemoryError(what)
        return real(*args, **given)

    transport = FakeTransport()
    with dead_spool(tmp_path / "spool", 8_192) as path:
        (job,) = dead_jobs(SpoolDirectory(path.parents[1]), transport)
        monkeypatch.setattr(place, name, failing)
        while not job.done.is_set():
            try:
                deliver(transport, framed(job, job.take(1)))
            except MemoryError:
                continue
            job.release()
    (run,) = recorded_runs(transport.events)
    assert len(run.actions) == STEPS
    assert run.end is not None
    assert run.end.n_steps == STEPS
    assert calls[0] > 1
