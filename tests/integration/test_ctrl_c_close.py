"""Ctrl-C while a recording is closed: what comes next, another `close` or the interpreter's end, finishes it."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np
import pytest

from support.interrupts import NEVER, interrupted_at
from support.loop_oracle import recorded_runs
from tupli.recording import lifetime, record
from tupli.spool.manifest import BenchmarkState
from tupli.transport import FakeTransport
from tupli_schemas.events import EpisodeEnded
from tupli_schemas.ids import id_text, make_id

STEPS: Final = 3
SLOTS: Final = 2


class Endless(gym.Env[Any, Any]):
    """Nothing ends its episodes."""

    observation_space = gym.spaces.Box(-9, 9, (2,), np.float32)
    action_space = gym.spaces.Discrete(10)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), 1.0, False, False, {}


def recording(folder: Path, transport: FakeTransport, slots: int) -> Any:
    """In the middle of an episode of each slot."""
    env: Any = gym.vector.SyncVectorEnv([Endless] * slots) if slots > 1 else Endless()
    wrapped: Any = record(env, "b", transport=transport, spool_dir=folder, drain_timeout=5.0)
    wrapped.reset()
    for step in range(STEPS):
        wrapped.step(np.full(slots, step) if slots > 1 else step)
    return wrapped


def interrupted(act: Callable[[], Any], line: int) -> int:
    """Do it, interrupted at its `line`-th line; how many lines ran where it was not."""
    with interrupted_at(line) as seen:
        try:
            act()
        except KeyboardInterrupt:
            return 0
    return seen[0]


def check(folder: Path, transport: FakeTransport, slots: int, reason: str) -> None:
    """All is delivered, and each episode ended once."""
    runs = recorded_runs(transport.events)
    ends = [(run.end.n_steps, run.end.reason) for run in runs if run.end is not None]
    assert ends == [(STEPS, reason)] * slots
    assert [len(run.observations) for run in runs] == [STEPS + 1] * slots
    assert sum(isinstance(event, EpisodeEnded) for event in transport.events) == slots
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("slots", "stride"), [(1, 1), (SLOTS, 2)])
def test_another_close_finishes_it(slots: int, stride: int, tmp_path: Path) -> None:
    line, ran = 1, 0
    while not 0 < ran < line:  # it has no more lines than that
        transport, folder = FakeTransport(), tmp_path / str(line)
        wrapped = recording(folder, transport, slots)
        ran = interrupted(wrapped.close, line)
        began = time.monotonic()
        wrapped.close()
        assert time.monotonic() - began < 4.0  # nothing waits for the deadline
        check(folder, transport, slots, "closed")
        line += stride
    assert line > 50


@pytest.mark.parametrize(("slots", "stride"), [(1, 5), (SLOTS, 9)])
def test_the_interpreters_end_finishes_it(slots: int, stride: int, tmp_path: Path) -> None:
    line, ran = 1, 0
    while not 0 < ran < line:
        transport, folder = FakeTransport(), tmp_path / str(line)
        wrapped = recording(folder, transport, slots)
        ran = interrupted(wrapped.close, line)
        lifetime._drain_at_exit()
        reason = {run.end.reason for run in recorded_runs(transport.events) if run.end is not None}
        assert reason <= {"closed", "exit"}
        check(folder, transport, slots, *reason)
        line += stride
    assert line > 50


def test_both_interrupted_it_is_still_finished(tmp_path: Path) -> None:
    for line in range(1, 60, 3):
        transport, folder = FakeTransport(), tmp_path / str(line)
        wrapped = recording(folder, transport, 1)
        interrupted(wrapped.close, line)
        interrupted(wrapped.close, line // 2 + 1)
        wrapped.close()
        check(folder, transport, 1, "closed")


def test_another_benchmark_interrupted_at_any_line(tmp_path: Path) -> None:
    """What was recorded before is delivered, and what is recorded afterwards."""
    other = BenchmarkState(id=id_text(make_id(9, 9)), resolved=True)
    line, ran = 1, 0
    while not 0 < ran < line:
        transport, folder = FakeTransport(), tmp_path / str(line)
        wrapped = recording(folder, transport, 1)
        ran = interrupted(partial(wrapped.bind_benchmark, other), line)
        wrapped.reset()
        wrapped.step(0)
        wrapped.close()
        runs = recorded_runs(transport.events)
        assert [run.end.n_steps for run in runs if run.end is not None] == [STEPS, 1]
        assert [path for path in folder.rglob("*") if path.is_file()] == []
        line += 1
    assert line > 20


def test_a_vector_that_was_closed_is_closed(tmp_path: Path) -> None:
    transport = FakeTransport()
    wrapped = recording(tmp_path, transport, SLOTS)
    assert interrupted(wrapped.close, NEVER) > 0
    requests = transport.requests
    wrapped.close()
    assert transport.requests == requests
    check(tmp_path, transport, SLOTS, "closed")
