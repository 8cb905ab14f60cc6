"""Many recordings of one process: what is done for each is not done once more for every other."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.dead_spool import STEPS, dead_spool
from support.loop_oracle import recorded_runs
from tupli.errors import TransportError
from tupli.recording import Recorder, shipper
from tupli.recording.shipper import Background, background
from tupli.spool.directory import SpoolDirectory
from tupli.transport import FakeTransport


class ToOne(FakeTransport):
    """One of the transports to the server of this address."""

    @property
    def route(self) -> Hashable:
        return self.address


@contextmanager
def left(folder: Path, transports: list[ToOne], size: int = 2) -> Iterator[Any]:
    """A background with a stream for each transport, all of them due."""
    threads: Any = Background()
    with ExitStack() as stack:
        for number, transport in enumerate(transports):
            stack.enter_context(dead_spool(folder / str(number), size, transport))
        for number, transport in enumerate(transports):
            threads.adopt(SpoolDirectory(folder / str(number)), transport)
            threads._adopt()
        yield threads


def streams_of(transport: FakeTransport) -> set[bytes]:
    return {event.stream for event in transport.events}


def test_streams_to_one_server_share_a_request(tmp_path: Path) -> None:
    first, second, other = ToOne(), ToOne(), ToOne(address="memory://other")
    with left(tmp_path, [first, second, other]) as threads:
        threads.ship_once(1e9)
    assert (len(streams_of(first)), len(streams_of(second)), len(streams_of(other))) == (2, 0, 1)
    assert (first.requests, other.requests) == (1, 1)


def test_what_is_left_goes_on_when_the_transport_that_others_shared_is_gone(tmp_path: Path) -> None:
    first, second = ToOne(), ToOne()

    def fail(_: object) -> None:
        raise TransportError("down")

    first.before_send = second.before_send = fail
    with left(tmp_path, [first, second]) as threads:
        threads.ship_once(1e9)
        one, rest = threads.jobs()
        assert threads.why(rest) == "TransportError: down"
        threads.forget(one)
        assert threads.why(rest) == "TransportError: down"  # the server's, whoever asked
        second.before_send = lambda _: None
        threads.ship_once(1e9)
    assert (first.requests, second.requests) == (0, 1)
    assert len(streams_of(second)) == 1


def test_a_spool_is_looked_at_once_for_all_of_its_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[tuple[int, Path]] = []
    monkeypatch.setattr(
        SpoolDirectory, "look", lambda spool: looks.append((threading.get_ident(), spool.root))
    )
    transport = FakeTransport()
    with ExitStack() as stack:
        for number in range(4):
            spool = tmp_path / str(number // 2)
            rec = stack.enter_context(Recorder("any", transport=transport, spool_dir=spool))
            rec.start(np.zeros(2))
            rec.step(0, np.zeros(2), 1.0, False, False)
        threads: Any = background()
        jobs = [job for job in threads.jobs() if job.transport is transport]
        assert len(jobs) == 4
        threads._keep(jobs, cover=True)
    mine = [root for thread, root in looks if thread == threading.get_ident()]
    assert sorted(mine) == [tmp_path / "0", tmp_path / "1"]


def test_a_request_has_an_end_and_those_come_first_that_have_waited_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper, "REQUEST_BYTES", 1_000_000)
    transport = ToOne()
    requests: list[set[bytes]] = []
    transport.before_send = lambda events: requests.append({event.stream for event in events})
    with left(tmp_path, [transport] * 5, size=2_000) as threads:
        while threads.ship_once(1e9):
            pass
    assert len(requests[0]) < 5
    turns = Counter[bytes]()
    while len(turns) < 5:
        assert set(turns.values()) <= {1}  # none comes twice before all have come
        turns.update(requests.pop(0))
    episodes = recorded_runs(transport.events)
    assert [len(run.actions) for run in episodes] == [STEPS] * 5


@pytest.mark.parametrize(
    ("worked", "pause"), [(0.001, shipper.MIN_INTERVAL), (0.2, 1.6), (9.0, shipper.MAX_LINGER)]
)
def test_what_takes_long_to_make_is_made_less_often(
    worked: float, pause: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that ships takes a part of its process's time, however many streams there are."""
    transport = ToOne()
    with left(tmp_path, [transport]) as threads:
        monkeypatch.setattr(time, "thread_time", itertools.count(0.0, worked).__next__)
        server = threads._servers.setdefault(transport.route, shipper._Server(transport))
        before = time.monotonic()
        threads.ship_once(1e9)
        after = time.monotonic()
        assert before + pause <= server.backoff.not_before <= after + pause


def test_who_is_done_first_leaves_the_hurry_to_those_who_still_close(tmp_path: Path) -> None:
    transport = ToOne()
    with left(tmp_path, [transport]) as threads:
        server = threads._servers.setdefault(transport.route, shipper._Server(transport))
        server.backoff.not_before = 2e9  # it rests
        with threads.hurried():
            with threads.hurried():
                pass
            threads.ship_once(1e9)
            assert transport.requests == 1
        assert not threads._hurried


class Door(ToOne):
    """One of the transports of one server; nobody may use it once it is closed."""

    def __init__(self, server: FakeTransport) -> None:
        super().__init__()
        self.events, self.benchmarks, self._lock = server.events, server.benchmarks, server._lock
        self.is_closed = False

    def send_events(self, body: Any) -> Any:
        assert not self.is_closed
        return super().send_events(body)

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize("first", [0, 1, 2])
def test_who_closes_takes_nothing_from_those_that_share_requests(first: int, tmp_path: Path) -> None:
    server = FakeTransport()
    doors = [Door(server) for _ in range(3)]
    recorders = [Recorder("any", transport=door, spool_dir=tmp_path) for door in doors]
    for recorder in recorders:
        recorder._stream.config.owns_transport = True  # as of one that was made from an address
        recorder.start(np.zeros(2))
    steps = [0, 0, 0]
    open_ = [0, 1, 2]
    for closing in [(first + turn) % 3 for turn in range(3)]:
        until = time.monotonic() + 0.3  # some requests of all that are open
        while time.monotonic() < until:
            for number in open_:
                recorders[number].step(0, np.full(2, steps[number] + 1.0), 1.0, False, False)
                steps[number] += 1
            time.sleep(0.001)
        recorders[closing].close()
        open_.remove(closing)
        assert doors[closing].is_closed
    runs = recorded_runs(server.events)
    assert sorted(len(run.actions) for run in runs) == sorted(steps)
    for run in runs:
        assert [int(o[0]) for o in run.observations] == list(range(len(run.actions) + 1))
