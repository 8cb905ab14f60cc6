"""Ctrl-C at any line of a vector's discard: what is recorded is what was done."""

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from support.interrupts import interrupted_at
from support.loop_oracle import recorded_runs
from tupli.recording import record
from tupli.transport import FakeTransport

SLOTS, STEPS = 3, 4


class Counting(gym.Env[Any, Any]):
    """Says how many steps it has made, as a text or as a number."""

    action_space = gym.spaces.Discrete(100)

    def __init__(self, kind: str) -> None:
        self.kind = kind
        text = gym.spaces.Text(20, min_length=0, charset="0123456789")
        self.observation_space = text if kind == "text" else gym.spaces.Box(-1e9, 1e9, (1,), np.float64)

    def _observation(self) -> Any:
        return str(self.count) if self.kind == "text" else np.array([float(self.count)])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.count = 0
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        return self._observation(), float(action), False, False, {}


def played(folder: Path, kind: str, discard: Callable[[Any], None], line: int) -> tuple[FakeTransport, int]:
    """Steps, a discard that is interrupted at a line, and steps; and how many lines it had."""
    transport = FakeTransport()
    inner = SyncVectorEnv([lambda: Counting(kind)] * SLOTS, autoreset_mode=AutoresetMode.NEXT_STEP)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with record(inner, "any", transport=transport, spool_dir=folder) as envs:
            envs.reset()
            for step in range(STEPS):
                envs.step(np.full(SLOTS, step))
            with interrupted_at(line) as seen, contextlib.suppress(KeyboardInterrupt):
                discard(envs)
            for step in range(STEPS, 2 * STEPS):
                envs.step(np.full(SLOTS, step))
    return transport, seen[0]


@pytest.mark.parametrize("kind", ["text", "box"])
@pytest.mark.parametrize("slot", [1, None])
def test_no_row_is_made_up_and_none_is_moved(kind: str, slot: int | None, tmp_path: Path) -> None:
    def discard(envs: Any) -> None:
        if slot is None:
            envs.discard_episode()
        else:
            envs.discard_episode(slot)

    for line in range(1, 500):
        transport, lines = played(tmp_path / str(line), kind, discard, line)
        for run in recorded_runs(transport.events):
            taken = len(run.actions)
            assert [int(action) for action in run.actions] == list(range(taken)), (line, run)
            assert [int(float(np.ravel(one)[0])) for one in run.observations] == list(range(taken + 1)), (
                line,
                run,
            )
            assert taken in (STEPS, 2 * STEPS), (line, taken)
        if lines < line:
            break
    assert 10 < line < 499
