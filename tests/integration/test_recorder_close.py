"""What `close` waits for, and what is kept of a recording that is over."""

import gc
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.dead_spool import dead_spool
from support.loop_oracle import recorded_runs
from tupli.errors import TransportError, TupliWarning
from tupli.recording import Recorder
from tupli.recording.job import StreamJob
from tupli.recording.lifetime import undelivered
from tupli.recording.shipper import Background, background
from tupli.spool.directory import SpoolDirectory
from tupli.spool.manifest import BenchmarkState
from tupli.transport import FakeTransport
from tupli_schemas.events import Event
from tupli_schemas.ids import id_text, make_id


def benchmark(number: int) -> BenchmarkState:
    return BenchmarkState(id=id_text(make_id(number, number)), resolved=True)


def episode(rec: Recorder, steps: int) -> StreamJob:
    """The stream that it is in."""
    rec.start(np.zeros(2))
    for step in range(steps):
        rec.step(step, np.ones(2), 1.0, step == steps - 1, False)
    job = rec._stream.job
    assert job is not None
    return job


def held_until(rec: Recorder, transport: FakeTransport) -> None:
    """Nothing is sent before the recording is closed."""

    def before_send(_: list[Event]) -> None:
        if not rec._stream.closed:
            raise TransportError("not yet")

    transport.before_send = before_send


@pytest.mark.parametrize("further", [False, True])
def test_close_waits_for_the_streams_of_benchmarks_before(further: bool, tmp_path: Path) -> None:  # noqa: FBT001 -- a case
    transport = FakeTransport()
    rec = Recorder("b", transport=transport, spool_dir=tmp_path)
    held_until(rec, transport)
    jobs = []
    for number in (1, 2, 3):
        jobs.append(episode(rec, number))
        rec._stream.rebind(benchmark(number))
    if further:
        jobs.append(episode(rec, 4))
    assert [job.done.is_set() for job in jobs] == [False] * len(jobs)
    jobs[0].backoff.not_before = time.monotonic() + 0.5  # it comes after the others
    rec.close()
    assert [job.done.is_set() for job in jobs] == [True] * len(jobs)
    assert sorted(len(run.actions) for run in recorded_runs(transport.events)) == [1, 2, 3, 4][: len(jobs)]
    assert undelivered(rec._stream) is None


def test_close_tells_of_each_stream_that_stays(tmp_path: Path) -> None:
    def fail(_: list[Event]) -> None:
        raise TransportError("down")

    transport = FakeTransport()
    transport.before_send = fail
    rec = Recorder("b", transport=transport, spool_dir=tmp_path, drain_timeout=0.2)
    first = episode(rec, 1)
    rec._stream.rebind(benchmark(1))
    second = episode(rec, 2)
    with pytest.warns(TupliWarning) as told:
        rec.close()
    rows = [str(one.message).partition(" are still")[0] for one in told]
    assert rows == ["2 rows", "3 rows"]
    left = undelivered(rec._stream)
    assert left is not None
    assert left.rows == 2
    for job in (first, second):
        background().forget(job)


def test_in_a_forked_child_the_streams_before_are_the_parents(tmp_path: Path) -> None:
    transport = FakeTransport()
    rec = Recorder("b", transport=transport, spool_dir=tmp_path)
    episode(rec, 1)
    rec._stream.rebind(benchmark(1))
    parents = rec._stream.jobs
    rec._stream.forked()
    assert rec._stream.jobs == []
    assert len(parents) == 1
    rec.close()


class Kept(FakeTransport):
    """A transport that can be told from others."""


def test_a_transport_goes_with_its_last_recording(tmp_path: Path) -> None:
    alive = []
    for _ in range(10):
        transport = Kept()
        alive.append(weakref.ref(transport))
        rec = Recorder("b", transport=transport, spool_dir=tmp_path)
        episode(rec, 3)
        rec.close()
    del rec, transport
    gc.collect()
    # Each of the three threads may have the stream that it saw last in a variable.
    assert sum(one() is not None for one in alive) <= 3


def test_a_server_is_remembered_as_long_as_a_stream_uses_it(tmp_path: Path) -> None:
    transports = FakeTransport(address="memory://a"), FakeTransport(address="memory://b")

    def fail(_: list[Event]) -> None:
        raise TransportError("down")

    transports[1].before_send = fail
    threads: Any = Background()
    with (
        dead_spool(tmp_path / "a", transport=transports[0]),
        dead_spool(tmp_path / "b", transport=transports[1]),
    ):
        for name, transport in zip("ab", transports, strict=True):
            threads.adopt(SpoolDirectory(tmp_path / name), transport)
        threads._adopt()
        threads.ship_once(1e9)
        (job,) = threads.jobs()
        assert [server.transport for server in threads._servers.values()] == [transports[1]]
        assert threads.why(job) == "TransportError: down"
        threads.forget(job)
        assert threads._servers == {}
