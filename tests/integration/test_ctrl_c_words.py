"""Ctrl-C at any line of a vector's step or reset, and words behind it: they publish nothing half done."""

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

SLOTS = 3


class Numbered(gym.Env[Any, Any]):
    """Says which episode it is in, and how many steps it has made; an action from 90 on ends it."""

    observation_space = gym.spaces.Box(-1e9, 1e9, (2,), np.float64)
    action_space = gym.spaces.Discrete(100)

    def __init__(self) -> None:
        self.episode = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.episode, self.count = self.episode + 1, 0
        return np.array([float(self.episode), 0.0]), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        return np.array([float(self.episode), float(self.count)]), float(action), action >= 90, False, {}


def check_nothing_is_made_up(transport: FakeTransport, line: int) -> None:
    """Each run has one observation more than it has actions, and all are of one episode, in order."""
    for run in recorded_runs(transport.events):
        if run.actions:
            episode = run.observations[0][0]
            expected = [(episode, float(count)) for count in range(len(run.actions) + 1)]
            assert [tuple(one) for one in run.observations] == expected, line


WORDS: dict[str, Callable[[Any], None]] = {
    "annotate_ended": lambda envs: envs.annotate_ended(0, word=1),
    "discard_ended": lambda envs: envs.discard_ended_episode(0),
    "discard": lambda envs: envs.discard_episode(0),
}


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("word", WORDS)
def test_words_behind_an_interrupted_step_publish_nothing_of_it(
    word: str, mode: AutoresetMode, tmp_path: Path
) -> None:
    """Slot 0 has just ended: in the next-step mode the step that is interrupted resets it, or does not."""
    for line in range(1, 500, 7):
        transport = FakeTransport()
        inner = SyncVectorEnv([Numbered] * SLOTS, autoreset_mode=mode)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with record(inner, "any", transport=transport, spool_dir=tmp_path / str(line)) as envs:
                envs.reset()
                envs.step(np.full(SLOTS, 1))
                envs.step(np.array([90, 2, 2]))
                if mode is AutoresetMode.DISABLED:
                    envs.reset(options={"reset_mask": np.array([True, False, False])})
                with interrupted_at(line) as seen, contextlib.suppress(KeyboardInterrupt):
                    envs.step(np.full(SLOTS, 3))
                WORDS[word](envs)
                for action in range(4, 7):
                    envs.step(np.full(SLOTS, action))
        check_nothing_is_made_up(transport, line)
        if seen[0] < line:
            break
    assert 10 < line < 498


def test_words_behind_an_interrupted_reset_publish_nothing_of_it(tmp_path: Path) -> None:
    """The reset ends all slots' episodes; the last one's end has no room in the segment at hand."""
    for line in range(1, 500, 7):
        transport = FakeTransport()
        inner = SyncVectorEnv([Numbered] * SLOTS, autoreset_mode=AutoresetMode.NEXT_STEP)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with record(inner, "any", transport=transport, spool_dir=tmp_path / str(line)) as envs:
                envs.reset()
                envs.step(np.full(SLOTS, 1))
                envs.annotate(SLOTS - 1, word="w" * 30_000)
                with interrupted_at(line) as seen, contextlib.suppress(KeyboardInterrupt):
                    envs.reset()
                envs.annotate(0, word=1)
                envs.step(np.full(SLOTS, 2))
        check_nothing_is_made_up(transport, line)
        if seen[0] < line:
            break
    assert 10 < line < 498


@pytest.mark.parametrize("word", WORDS)
def test_words_behind_an_interrupted_step_and_a_reset_end_nothing(word: str, tmp_path: Path) -> None:
    """The reset forgets what was interrupted: words on the episodes before leave the running ones alone."""
    for line in range(1, 500, 7):
        transport = FakeTransport()
        inner = SyncVectorEnv([Numbered] * SLOTS, autoreset_mode=AutoresetMode.SAME_STEP)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with record(inner, "any", transport=transport, spool_dir=tmp_path / str(line)) as envs:
                envs.reset()
                envs.step(np.full(SLOTS, 1))
                with interrupted_at(line) as seen, contextlib.suppress(KeyboardInterrupt):
                    envs.step(np.array([90, 2, 2]))
                envs.reset()
                envs.step(np.full(SLOTS, 3))
                WORDS[word](envs)
                for action in range(4, 7):
                    envs.step(np.full(SLOTS, action))
        check_nothing_is_made_up(transport, line)
        running = [[int(one) for one in run.actions] for run in recorded_runs(transport.events)][-SLOTS:]
        kept = SLOTS - (word == "discard")
        assert running.count([3, 4, 5, 6]) == kept, line
        if seen[0] < line:
            break
    assert 10 < line < 498
