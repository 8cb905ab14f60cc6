"""Observations that are masked arrays: their masks are kept, or told of, and never dropped."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from support.loop_oracle import Run, recorded_runs
from support.telling import telling
from tupli.recording import record
from tupli.transport import FakeTransport

ACT = np.zeros(2, np.float32)


def masked(count: int) -> Any:
    return np.ma.MaskedArray(np.full(2, count, np.float32), mask=np.array([False, count % 2 == 1]))


class Masked(gymnasium.Env[Any, Any]):
    """Observes masked arrays from the step `since` on, and ends after four."""

    def __init__(self, since: int) -> None:
        self.observation_space = self.action_space = gymnasium.spaces.Box(-1e9, 1e9, (2,), np.float32)
        self.since, self.count = since, 0

    def reset(self, **_: Any) -> Any:
        self.count = 0
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        return self._seen(), 1.0, self.count == 4, False, {}

    def _seen(self) -> Any:
        return masked(self.count) if self.count >= self.since else np.full(2, self.count, np.float32)


def recorded(env: Masked, folder: Path) -> Run:
    """The one episode of four steps."""
    transport = FakeTransport()
    with record(env, "masked", transport=transport, spool_dir=folder) as wrapped:
        wrapped.reset()
        for _ in range(4):
            wrapped.step(ACT)
    (run,) = recorded_runs(transport.events)
    return run


def test_masks_of_observations_are_kept(tmp_path: Path) -> None:
    run = recorded(Masked(since=0), tmp_path)
    assert [np.ma.getmaskarray(seen).tolist() for seen in run.observations] == [
        [False, count % 2 == 1] for count in range(5)
    ]
    assert [seen.data.tolist() for seen in run.observations] == [[count, count] for count in range(5)]


def test_a_mask_that_comes_where_none_was_is_told_and_not_dropped(tmp_path: Path) -> None:
    with telling() as told:
        run = recorded(Masked(since=3), tmp_path)
    assert [len(run.actions), len(run.observations)] == [3, 3]
    assert run.end is not None
    assert (run.end.aborted, run.end.has_final) == (True, False)
    assert any("masked" in message for message in told)
