"""Ctrl-C at any line of the recorder: the run's next episodes are whole, and nothing recorded is untrue."""

from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np
import pytest

from support.interrupts import NEVER, interrupted_at
from support.loop_oracle import Run, recorded_runs
from tupli.recording import record
from tupli.transport import FakeTransport
from tupli_ingest.core.validation import Sender, accept_frames
from tupli_schemas.events import EpisodeStarted, encode_event
from tupli_schemas.framing import Frame, Kind
from tupli_schemas.ids import make_id

STEPS: Final = 4


class Told(gym.Env[Any, Any]):
    """Observations say which episode and step they are of; an episode has `STEPS` steps."""

    observation_space = gym.spaces.Box(-9, 999, (2,), np.float32)
    action_space = gym.spaces.Discrete(10)

    def __init__(self) -> None:
        self.episode = self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.episode += 1
        self.t = 0
        return np.array([self.episode, 0], np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return np.array([self.episode, self.t], np.float32), 1.0, self.t >= STEPS, False, {}


def play(folder: Path, where: str, line: int, *, extra: bool) -> int:
    """Three episodes, the second one interrupted; the lines that the recorder ran where it was not interrupted."""
    transport = FakeTransport()
    told = Told()
    env = record(told, "b", transport=transport, spool_dir=folder)
    ran = 0
    for episode in range(3):
        try:
            with interrupted_at(line if (episode, where) == (1, "reset") else NEVER) as seen:
                env.reset()
            ran = seen[0] if (episode, where) == (1, "reset") else ran
            for step in range(STEPS):
                if extra:
                    env.extra(lp=0.5)
                here = (episode, where, step) in ((1, "step", 1), (1, "last step", STEPS - 1))
                with interrupted_at(line if here else NEVER) as seen:
                    env.step(step)
                ran = seen[0] if here else ran
        except KeyboardInterrupt:
            continue
    env.close()
    check(transport, told.episode)
    return ran


def play_vector(folder: Path, where: str, line: int) -> int:
    """Two slots, reset three times; the second time one of what follows is interrupted. As `play`."""
    transport, ran = FakeTransport(), 0
    told = [Told(), Told()]
    envs = gym.vector.SyncVectorEnv([lambda: told[0], lambda: told[1]])
    wrapped = record(envs, "b", transport=transport, spool_dir=folder)
    for turn in range(3):
        try:
            with interrupted_at(line if (turn, where) == (1, "reset") else NEVER) as seen:
                wrapped.reset()
            ran = seen[0] if (turn, where) == (1, "reset") else ran
            for step in range(STEPS + 1):
                here = (turn, where, step) in (
                    (1, "step", 1),
                    (1, "last step", STEPS - 1),
                    (1, "next", STEPS),
                )
                with interrupted_at(line if here else NEVER) as seen:
                    wrapped.step(np.array([step, step]))
                ran = seen[0] if here else ran
        except KeyboardInterrupt:
            continue
    wrapped.close()
    by_slot: dict[int, list[Run]] = {0: [], 1: []}
    for run in accepted(transport):
        assert run.start is not None
        by_slot[run.start.slot].append(run)
    for slot, runs in by_slot.items():
        whole = by_number(runs)
        assert_whole(whole[1])
        assert_whole(whole[told[slot].episode - 1])  # its autoreset has begun another one
    return ran


def check(transport: FakeTransport, last: int) -> None:
    """A gateway would take all of it, and every row is what the environment gave."""
    whole = by_number(accepted(transport))
    assert_whole(whole[1])
    assert_whole(whole[last])
    assert sum(isinstance(event, EpisodeStarted) for event in transport.events) <= 3


def assert_whole(run: Run) -> None:
    """Nothing of the episode was lost."""
    assert run.end is not None
    assert (run.end.n_steps, run.end.terminated, run.end.aborted) == (STEPS, True, False)


def accepted(transport: FakeTransport) -> list[Run]:
    """The episodes, of events that a gateway takes."""
    frames = [Frame(Kind.EVENT, encode_event(event)) for event in transport.events]
    accept_frames(frames, Sender(subject=make_id(1, 1), received_at=1, client="", request_id=""))
    return recorded_runs(transport.events)


def by_number(runs: list[Run]) -> dict[int, Run]:
    """The episodes by the number that their observations tell."""
    found: dict[int, Run] = {}
    for run in runs:
        assert run.end is not None
        numbers = {int(observation[0]) for observation in run.observations}
        assert len(numbers) <= 1, "an episode of two"
        assert [int(observation[1]) for observation in run.observations] == list(range(len(run.observations)))
        assert run.actions == list(range(len(run.actions)))
        for number in numbers:
            assert number not in found, "an episode that comes twice"
            found[number] = run
    return found


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("where", ["reset", "step", "last step"])
def test_ctrl_c_at_any_line(where: str, extra: bool, tmp_path: Path) -> None:  # noqa: FBT001 -- a case
    line = 1
    while True:
        ran = play(tmp_path / str(line), where, line, extra=extra)
        if 0 < ran < line:
            break  # it has no more lines than that
        line += 1
    assert line > 5


@pytest.mark.parametrize("where", ["reset", "step", "last step", "next"])
def test_ctrl_c_at_any_line_of_a_vector(where: str, tmp_path: Path) -> None:
    line = 1
    while True:
        ran = play_vector(tmp_path / str(line), where, line)
        if 0 < ran < line:
            break
        line += 3  # every third: they are many
    assert line > 5
