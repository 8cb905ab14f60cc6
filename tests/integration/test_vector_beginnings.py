"""What is said of a vector's episodes before the first step, which shows their step schema."""

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from support.loop_oracle import Run, recorded_runs
from tupli.recording import record
from tupli.transport import FakeTransport

SLOTS, LENGTHS = 3, (3, 5, 20)


class Timed(gymnasium.Env[Any, Any]):
    """Ends after as many steps as it is told."""

    def __init__(self, length: int) -> None:
        self.observation_space = gymnasium.spaces.Box(-100, 100, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(5)
        self.length, self.count = length, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        return np.full(1, self.count, np.float32), 1.0, self.count == self.length, False, {}


class OddFirst(gymnasium.vector.VectorWrapper):
    """Its first step gives no observations."""

    steps = 0

    def step(self, actions: Any) -> Any:
        observations, *rest = super().step(actions)
        self.steps += 1
        return None if self.steps == 1 else observations, *rest


def made() -> Any:
    fns = [lambda length=length: Timed(length) for length in LENGTHS]
    return SyncVectorEnv(fns, autoreset_mode=AutoresetMode.NEXT_STEP)


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


def runs_of(transport: FakeTransport, slot: int) -> list[Run]:
    runs = recorded_runs(transport.events)
    return [run for run in runs if run.start is not None and run.start.slot == slot and run.actions]


def metadata_of(run: Run) -> dict[str, Any]:
    assert run.end is not None
    return dict(run.end.metadata or {})


def step(envs: Any, times: int) -> None:
    for _ in range(times):
        envs.step(np.zeros(SLOTS, np.int64))


def test_what_is_annotated_before_the_first_step_is_the_episodes(
    transport: FakeTransport, tmp_path: Path
) -> None:
    with record(made(), "timed", transport=transport, spool_dir=tmp_path) as envs:
        envs.reset()
        envs.annotate(0, given="up")
        envs.reset()
        envs.annotate(0, site="lab")
        envs.annotate(1, site="field")
        step(envs, 1)
        envs.annotate(0, late=True)
        step(envs, 7)
    told = [metadata_of(runs_of(transport, slot)[0]) for slot in range(SLOTS)]
    assert told == [{"site": "lab", "late": True}, {"site": "field"}, {}]
    assert metadata_of(runs_of(transport, 0)[1]) == {}


def test_an_episode_given_up_before_the_first_step_is_not_recorded(
    transport: FakeTransport, tmp_path: Path
) -> None:
    with record(made(), "timed", transport=transport, spool_dir=tmp_path) as envs:
        envs.reset()
        envs.discard_episode(0)
        step(envs, 8)
    assert [len(run.actions) for run in runs_of(transport, 0)] == [3]  # the next one, after its reset
    assert [len(run.actions) for run in runs_of(transport, 1)] == [5, 2]


def test_a_first_step_that_cannot_be_recorded_begins_nothing_later(
    transport: FakeTransport, tmp_path: Path
) -> None:
    """Slots whose episodes go on must not seem to begin in their middle, when others begin."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        with record(OddFirst(made()), "timed", transport=transport, spool_dir=tmp_path) as envs:
            envs.reset()
            step(envs, 8)
    assert [len(run.actions) for run in runs_of(transport, 0)] == [3]
    assert [run.observations[0].tolist() for run in runs_of(transport, 1)] == [[0.0]]
    assert runs_of(transport, 2) == []


class Changing(gymnasium.vector.VectorWrapper):
    """Gives observations of another type where it is told to."""

    other = False

    def _given(self, observations: Any) -> Any:
        return observations.astype(str) if self.other else observations

    def reset(self, **options: Any) -> Any:
        observations, infos = super().reset(**options)
        return self._given(observations), infos

    def step(self, actions: Any) -> Any:
        observations, *rest = super().step(actions)
        return self._given(observations), *rest


@pytest.mark.parametrize("begins", ["reset", "autoreset"])
def test_a_beginning_of_another_type_given_up_twice_is_not_the_episode_before(
    begins: str, transport: FakeTransport, tmp_path: Path
) -> None:
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        with record(Changing(made()), "timed", transport=transport, spool_dir=tmp_path) as envs:
            envs.reset()
            step(envs, LENGTHS[0])
            envs.env.other = True
            if begins == "reset":
                envs.reset()
            else:
                step(envs, 1)
            for _ in range(2):
                envs.annotate(0, late=True)
                envs.discard_episode(0)
    (run,) = runs_of(transport, 0)
    assert run.end is not None
    assert (run.end.terminated, run.end.discarded, run.amended) == (True, False, [])
