"""What a metadata callback asks for is done when the step that it is called for is written, and not in its middle."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from support.loop_oracle import Run, recorded_runs
from support.scripted import Scripted
from tupli.recording import record
from tupli.transport import FakeTransport
from tupli_schemas.events import EpisodeEnded

STEPS = 5


def episodes(transport: FakeTransport) -> list[tuple[int, str, bool]]:
    """Steps, how it ended, and whether it was discarded, of each episode that was sent."""
    return [(len(run.actions), how(run), discarded(run)) for run in recorded_runs(transport.events)]


def how(run: Run) -> str:
    assert run.end is not None
    return "terminated" if run.end.terminated else run.end.reason


def discarded(run: Run) -> bool:
    return bool(run.end and run.end.discarded) or any(amended.discarded for amended in run.amended)


def played(folder: Path, at: int, word: str) -> FakeTransport:
    """Three episodes, in which the callback says the word at one step; then one without a callback."""
    transport, called = FakeTransport(), [0]
    space = gym.spaces.Box(-1e9, 1e9, (1,), np.float64)
    inner = Scripted(space, [np.array([float(n)]) for n in range(STEPS + 1)])
    with record(inner, "any", transport=transport, spool_dir=folder) as env:

        def callback(item: Any) -> dict[str, Any]:
            called[0] += 1
            if called[0] == at:
                getattr(env, word)()
            return {"last": float(item.state[0])}

        env.metadata_callback = callback
        for number in range(4):
            if number == 3:
                env.metadata_callback = None
                env.activate_recording()
            env.reset()
            for _ in range(STEPS):
                env.step(np.zeros(1))
    assert all(event.episode for event in transport.events if isinstance(event, EpisodeEnded))
    return transport


@pytest.mark.parametrize("at", [1, 3])
def test_a_discard_in_the_middle_takes_the_running_episode_alone(at: int, tmp_path: Path) -> None:
    whole = (STEPS, "terminated", False)
    assert episodes(played(tmp_path, at, "discard_episode")) == [(at, "discarded", True), whole, whole, whole]


def test_a_discard_with_the_last_step_takes_the_episode_that_it_ended(tmp_path: Path) -> None:
    whole = (STEPS, "terminated", False)
    found = episodes(played(tmp_path, STEPS, "discard_episode"))
    assert found == [(STEPS, "terminated", True), whole, whole, whole]


@pytest.mark.parametrize("at", [1, 3])
def test_recording_that_is_switched_off_keeps_the_step_at_hand(at: int, tmp_path: Path) -> None:
    found = episodes(played(tmp_path, at, "deactivate_recording"))
    assert found == [(at, "paused", False), (STEPS, "terminated", False)]


def test_recording_that_is_switched_off_with_the_last_step_keeps_its_end(tmp_path: Path) -> None:
    found = episodes(played(tmp_path, STEPS, "deactivate_recording"))
    assert found == [(STEPS, "terminated", False)] * 2


@pytest.mark.parametrize("at", [1, 3, STEPS])
def test_a_reset_inside_the_callback_breaks_nothing(at: int, tmp_path: Path) -> None:
    for steps, _, _ in episodes(played(tmp_path, at, "reset")):
        assert 0 <= steps <= STEPS


class Counting(gym.Env[Any, Any]):
    """Ends when it is told to."""

    observation_space = gym.spaces.Box(-1e9, 1e9, (2,), np.float64)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.count = 0
        return np.zeros(2), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        return np.full(2, float(self.count)), 1.0, bool(action), False, {}


@pytest.mark.parametrize("shift", range(6))
def test_a_slot_given_up_at_a_segments_end_leaves_its_neighbours_whole(shift: int, tmp_path: Path) -> None:
    slots, transport = 3, FakeTransport()
    inner = SyncVectorEnv([Counting] * slots, autoreset_mode=AutoresetMode.NEXT_STEP)
    envs = record(inner, "any", transport=transport, spool_dir=tmp_path)
    go, taken = np.zeros(slots, int), 0
    with envs:
        envs.reset()
        for _ in range(shift):  # each time one row more
            envs.step(np.array([1, 0, 0]))
            envs.step(go)
            taken += 2
        stream = envs._stream
        envs.step(go)
        taken += 1
        while not (stream.writer.row + slots < stream.writer.limit <= stream.writer.row + 2 * slots):
            envs.step(go)
            taken += 1
        envs.discard_episode(0)
        envs.step(go)
        envs.step(np.array([0, 1, 1]))
        taken += 2
    ended = [run for run in recorded_runs(transport.events) if run.start and run.start.slot and run.actions]
    assert [(len(run.actions), how(run)) for run in ended] == [(taken, "terminated")] * 2
