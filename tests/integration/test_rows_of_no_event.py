"""Rows that are no transitions may be a segment's last: nothing acknowledges them, and yet the segment is done."""

import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from support.loop_oracle import recorded_runs
from tupli.recording import record
from tupli.recording.flush import flush_dead
from tupli.spool.directory import SpoolDirectory
from tupli.transport import FakeTransport

LENGTH, WIDTH = 1, 3_000


class Short(gym.Env[Any, Any]):
    """Episodes of `LENGTH` steps: every second row of a next-step vector is an autoreset's."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (WIDTH,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.taken = 0
        return np.zeros(WIDTH, np.float32), {}

    def step(self, action: Any) -> Any:
        self.taken += 1
        return np.full(WIDTH, self.taken, np.float32), 1.0, self.taken >= LENGTH, False, {}


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_a_vector_whose_slots_end_together_leaves_nothing_in_the_spool(slots: int, tmp_path: Path) -> None:
    transport = FakeTransport()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs = record(
            gym.vector.SyncVectorEnv([Short] * slots), "short", transport=transport, spool_dir=tmp_path
        )
        with envs:
            envs.reset()
            for _ in range(600 // slots):  # some 30 segments, which end on any of the two kinds of rows
                envs.step(np.zeros((slots, 1), np.float32))
    assert not list(tmp_path.rglob("*.seg"))
    report = flush_dead(SpoolDirectory(tmp_path), transport)
    assert (report.left, report.problems) == (0, [])
    runs = [run for run in recorded_runs(transport.events) if run.actions]
    assert len(runs) == slots * (600 // slots // 2)
