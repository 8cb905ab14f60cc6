"""The short way of a vector step leaves the rows that the long way does: one slot, large blocks, calls from inside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from support.loop_oracle import Run, recorded_runs
from tupli.recording import record
from tupli.recording.vector import VectorStream
from tupli.transport import FakeTransport

STEPS = 40


class Plain(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Slot `s` at time `t` shows `s` and `t`; nothing ends. `inside` is called from every step."""

    def __init__(self, slots: int, size: int) -> None:
        self.num_envs, self.size, self.t = slots, size, 0
        self.metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}
        self.single_observation_space = gymnasium.spaces.Box(0, 1e6, (size,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(0, 1e6, (2,), np.float32)
        self.inside: Callable[[int], None] = lambda _: None

    def _observe(self) -> Any:
        out = np.zeros((self.num_envs, self.size), np.float32)
        out[:, 0], out[:, -1] = self.t, np.arange(self.num_envs)
        return out

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        self.t = 0
        return self._observe(), {}

    def step(self, actions: Any) -> Any:
        self.t += 1
        self.inside(self.t)
        none = np.zeros(self.num_envs, bool)
        return self._observe(), np.arange(self.num_envs) + float(self.t), none, none.copy(), {}


def recorded(env: Plain, folder: Path, prepare: Callable[[Any], None]) -> list[Run]:
    transport = FakeTransport()
    with record(env, "plain", transport=transport, spool_dir=folder) as envs:
        envs.reset()
        prepare(envs)
        for t in range(1, STEPS + 1):
            envs.step(np.full((env.num_envs, 2), t, np.float32))
    return recorded_runs(transport.events)


def check_run(run: Run, slot: int, steps: int) -> None:
    assert [int(a[0]) for a in run.actions] == list(range(1, steps + 1))
    assert run.rewards == [slot + float(t) for t in range(1, steps + 1)]
    seen = [(int(o[0]), int(o[-1])) for o in run.observations]
    assert seen == [(t, slot) for t in range(steps + 1)]


@pytest.mark.parametrize("slots", [1, 2, 5])
@pytest.mark.parametrize("size", [2, 1_500, 6_000])
def test_rows_are_those_of_the_loop(
    slots: int, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ways: list[int] = []
    take = VectorStream.take

    def counted(self: VectorStream, result: Any) -> None:
        long_ways.append(1)
        take(self, result)

    monkeypatch.setattr(VectorStream, "take", counted)
    runs = recorded(Plain(slots, size), tmp_path, lambda _: None)
    for slot in range(slots):
        (run,) = [run for run in runs if run.start is not None and run.start.slot == slot]
        check_run(run, slot, STEPS)
    assert len(long_ways) < STEPS / 2  # most steps took the short way


def test_a_slot_given_up_from_inside_a_step_leaves_the_others_whole(tmp_path: Path) -> None:
    env = Plain(2, 3)

    def prepare(envs: Any) -> None:
        env.inside = lambda t: envs.discard_episode(0) if t == 5 else None

    runs = recorded(env, tmp_path, prepare)
    (other,) = [run for run in runs if run.start is not None and run.start.slot == 1]
    check_run(other, 1, STEPS)
    (given_up,) = [run for run in runs if run.start is not None and run.start.slot == 0]
    assert given_up.end is not None
    assert (given_up.end.discarded, given_up.end.n_steps) == (True, 4)


def test_what_is_said_from_inside_a_step_moves_no_row(tmp_path: Path) -> None:
    """Large enough for a segment of its own."""
    env = Plain(2, 3)

    def prepare(envs: Any) -> None:
        envs.step(np.zeros((2, 2), np.float32))
        envs.discard_episode(0)
        envs.reset()
        env.inside = lambda t: envs.annotate_ended(0, note="x" * 900_000) if t == 8 else None
        envs.annotate_ended(0, note="first")

    runs = recorded(env, tmp_path, prepare)
    for slot in range(2):
        run = [run for run in runs if run.start is not None and run.start.slot == slot][-1]
        check_run(run, slot, STEPS)


def test_rewards_of_another_class_are_what_the_long_way_reads(tmp_path: Path) -> None:
    """A masked array's bytes are its fill value where it is masked."""

    class Masked(Plain):
        def step(self, action: Any) -> Any:
            observations, rewards, *rest = super().step(action)
            return observations, np.ma.masked_array(rewards, mask=[True, False]), *rest

    runs = recorded(Masked(2, 3), tmp_path, lambda _: None)
    for slot in range(2):
        (run,) = [run for run in runs if run.start is not None and run.start.slot == slot]
        check_run(run, slot, STEPS)
