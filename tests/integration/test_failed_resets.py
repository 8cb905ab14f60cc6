"""After a reset or a step that failed nothing is recorded before the next reset, and that is told once."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from support.loop_oracle import recorded_runs
from support.telling import telling
from tupli.recording import TupliVectorEnvWrapper, record
from tupli.recording.subjects import INTERRUPTED, NO_SUBJECT, RESET_FAILED
from tupli.transport import FakeTransport


class Robot(gymnasium.Env[Any, Any]):
    """Observations `[episode, count]`; a reset or a step fails with `error`, once."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(-1e9, 1e9, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(9)
        self.episode, self.count = 0, 0
        self.error: BaseException | None = None

    def _answer(self) -> Any:
        error, self.error = self.error, None
        if error is not None:
            raise error
        return np.array([self.episode, self.count], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.episode, self.count = self.episode + 1, 0
        return self._answer(), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        return self._answer(), 1.0, self.count == 9, False, {}


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


def ends(transport: FakeTransport) -> list[tuple[list[Any], str]]:
    runs = recorded_runs(transport.events)
    return [
        ([observation.tolist() for observation in run.observations], run.end.reason)
        for run in runs
        if run.end is not None and run.actions
    ]


def heard(action: Any) -> list[str]:
    with telling() as told:
        action()
    return told


@pytest.mark.parametrize("error", [TimeoutError(), KeyboardInterrupt()], ids=["timeout", "ctrl-c"])
@pytest.mark.parametrize("facts", [False, True], ids=["plain", "extra"])
def test_a_reset_that_fails_ends_the_episode(
    error: BaseException,
    facts: bool,  # noqa: FBT001 -- a case
    transport: FakeTransport,
    tmp_path: Path,
) -> None:
    with record(Robot(), "robot", transport=transport, spool_dir=tmp_path) as env:

        def step(times: int) -> None:
            for _ in range(times):
                if facts:
                    env.extra(logprob=0.5)
                env.step(0)

        def fail() -> None:
            env.unwrapped.error = error
            with pytest.raises(type(error)):
                env.reset()

        env.reset()
        step(2)
        assert heard(fail) == []
        assert heard(lambda: step(3)) == [RESET_FAILED]
        fail()
        assert heard(lambda: step(3)) == []  # told once
        env.reset()
        step(1)
    assert ends(transport) == [([[1, 0], [1, 1], [1, 2]], "reset"), ([[4, 0], [4, 1]], "closed")]


@pytest.mark.parametrize("options", [{}, {"info": ["any"]}], ids=["short", "long"])
def test_steps_after_one_that_failed_are_not_recorded_and_that_is_told(
    options: dict[str, Any], transport: FakeTransport, tmp_path: Path
) -> None:
    with record(Robot(), "robot", transport=transport, spool_dir=tmp_path, **options) as env:
        env.reset()
        env.step(0)
        env.unwrapped.error = TimeoutError()
        with pytest.raises(TimeoutError):
            env.step(0)
        assert heard(lambda: [env.step(0) for _ in range(3)]) == [INTERRUPTED]
        env.reset()
        assert heard(lambda: env.step(0)) == []
    assert ends(transport) == [([[1, 0], [1, 1]], "interrupted"), ([[2, 0], [2, 1]], "closed")]


def made(mode: AutoresetMode) -> tuple[SyncVectorEnv, list[Robot]]:
    robots = [Robot(), Robot()]
    return SyncVectorEnv([lambda: robots[0], lambda: robots[1]], autoreset_mode=mode), robots


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_vectors_reset_that_fails(mode: AutoresetMode, transport: FakeTransport, tmp_path: Path) -> None:
    envs, robots = made(mode)
    with record(envs, "robot", transport=transport, spool_dir=tmp_path) as env:
        env.reset()
        env.step(np.zeros(2, np.int64))
        robots[1].error = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            env.reset()
        assert heard(lambda: [env.step(np.zeros(2, np.int64)) for _ in range(2)]) == [RESET_FAILED]
        env.reset()
        env.step(np.zeros(2, np.int64))
    first, second = ([[1, 0], [1, 1]], "reset"), ([[3, 0], [3, 1]], "closed")
    assert ends(transport) == [first, first, second, second]


def one_failed(slot: int, transport: FakeTransport, spool: Path) -> TupliVectorEnvWrapper:
    """Two robots that are reset by hand: after a step of both, the reset of one failed."""
    envs, robots = made(AutoresetMode.DISABLED)
    env: TupliVectorEnvWrapper = record(envs, "robot", transport=transport, spool_dir=spool)
    env.reset()
    env.step(np.zeros(2, np.int64))
    robots[slot].error = TimeoutError()
    with pytest.raises(TimeoutError):
        env.reset(options={"reset_mask": np.arange(2) == slot})
    return env


def test_a_reset_of_one_slot_that_fails_leaves_the_other(transport: FakeTransport, tmp_path: Path) -> None:
    with one_failed(1, transport, tmp_path) as env:
        assert heard(lambda: env.step(np.zeros(2, np.int64))) == [RESET_FAILED]
    assert ends(transport) == [([[1, 0], [1, 1], [1, 2]], "closed"), ([[1, 0], [1, 1]], "reset")]


def test_a_vectors_step_that_fails(transport: FakeTransport, tmp_path: Path) -> None:
    envs, robots = made(AutoresetMode.NEXT_STEP)
    with record(envs, "robot", transport=transport, spool_dir=tmp_path) as env:
        env.reset()
        env.step(np.zeros(2, np.int64))
        robots[1].error = TimeoutError()
        with pytest.raises(TimeoutError):
            env.step(np.zeros(2, np.int64))
        assert heard(lambda: [env.step(np.zeros(2, np.int64)) for _ in range(2)]) == [INTERRUPTED]
    assert ends(transport) == [([[1, 0], [1, 1]], "interrupted")] * 2


def test_what_is_said_while_nothing_is_recorded_is_told_to_change_nothing(
    transport: FakeTransport, tmp_path: Path
) -> None:
    with record(Robot(), "robot", transport=transport, spool_dir=tmp_path) as env:
        env.reset()
        env.step(0)
        env.deactivate_recording()
        assert heard(env.discard_episode) == [NO_SUBJECT]
        assert heard(lambda: env.annotate(score=2)) == []
    (run,) = recorded_runs(transport.events)
    assert run.amended == []


def test_what_is_said_of_a_beginning_that_was_interrupted_is_not_the_next_episodes(
    transport: FakeTransport, tmp_path: Path
) -> None:
    """Its ordinal was taken back, and is the next one's."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    env = record(Robot(), "robot", transport=transport, spool_dir=tmp_path)
    env.reset()
    env.step(0)
    stream = env._stream
    stream.end()
    publish, stream.publish = stream.publish, interrupt
    with pytest.raises(KeyboardInterrupt):
        stream.reset(np.zeros(2, np.float32), {})
    stream.publish = publish
    env.step(0)
    env.annotate(site="lab")
    env.discard_episode()
    env.reset()
    env.step(0)
    env.close()
    last = recorded_runs(transport.events)[-1]
    assert last.end is not None
    assert (last.end.n_steps, last.end.discarded, last.end.metadata, last.amended) == (1, False, None, [])


def test_what_is_said_of_steps_after_a_failed_reset_is_not_the_episodes_before(
    transport: FakeTransport, tmp_path: Path
) -> None:
    with record(Robot(), "robot", transport=transport, spool_dir=tmp_path) as env:
        env.reset()
        env.step(0)
        env.unwrapped.error = TimeoutError()
        with pytest.raises(TimeoutError):
            env.reset()
        env.annotate(robot="stuck")  # nothing has happened since: it is the one that the reset ended
        env.step(0)
        env.annotate(robot="free")
        env.discard_episode()
    (run,) = recorded_runs(transport.events)
    assert [(event.metadata, event.discarded) for event in run.amended] == [({"robot": "stuck"}, False)]


def test_what_is_said_of_a_slot_whose_reset_failed_is_not_its_episode_before_when_another_was_reset(
    transport: FakeTransport, tmp_path: Path
) -> None:
    """The other slot's reset is made: steps could take the short way again."""
    with one_failed(0, transport, tmp_path) as env:
        env.reset(options={"reset_mask": np.array([False, True])})
        assert heard(lambda: env.step(np.zeros(2, np.int64))) == [RESET_FAILED]
        assert heard(lambda: env.annotate(0, robot="free")) == [NO_SUBJECT]
        env.discard_episode(0)
    runs = recorded_runs(transport.events)
    assert [run.end.reason for run in runs if run.end is not None] == ["reset", "reset", "closed"]
    assert [run.amended for run in runs] == [[], [], []]
    assert not any(run.end.discarded for run in runs if run.end is not None)
