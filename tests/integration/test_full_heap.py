"""Values without a fixed size, where a segment has no room for them, and where there is no other segment either."""

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from support.loop_oracle import Run, recorded_runs
from support.telling import telling
from tupli.errors import SpoolFull, TupliWarning
from tupli.recording import record
from tupli.transport import FakeTransport

LONG = 100_000
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]


class Texts(gymnasium.Env[Any, Any]):
    """Observations that say `episode.count`, each `every`th of `size` characters; ends after `ends_at` steps."""

    def __init__(self, size: int = LONG, ends_at: int = 10**9, every: int = 1) -> None:
        self.observation_space = gymnasium.spaces.Text(10**6)
        self.action_space = gymnasium.spaces.Discrete(10**6)
        self.size, self.ends_at, self.every = size, ends_at, every
        self.episode = self.count = 0

    def observe(self) -> Any:
        size = 10 if (self.count + 1) % self.every else self.size
        return f"{self.episode}.{self.count}.".ljust(size, "x")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.episode, self.count = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        return self.observe(), 1.0, self.count == self.ends_at, False, {}


class Numbers(Texts):
    """The same as numbers."""

    def __init__(self, size: int, ends_at: int = 10**9, every: int = 1) -> None:
        super().__init__(size, ends_at, every)
        self.observation_space = gymnasium.spaces.Box(-1e9, 1e9, (size // 4,), np.float32)

    def observe(self) -> Any:
        return np.resize(np.array([self.episode, self.count], np.float32), self.size // 4)


class Growing(Texts):
    """Observations of three parts, that are long from the third on."""

    def __init__(self) -> None:
        super().__init__()
        text = gymnasium.spaces.Text(10**7)
        self.observation_space = gymnasium.spaces.Dict({"a": text, "b": text, "c": text})

    def observe(self) -> Any:
        sizes = (1, LONG, 30 * LONG) if self.count > 2 else (1, 1, 1)
        return {name: str(self.count) * size for name, size in zip("abc", sizes, strict=True)}


def place(observation: Any) -> list[int]:
    """Which observation of which episode it is."""
    parts = observation.split(".")[:2] if isinstance(observation, str) else observation[:2]
    return [int(part) for part in parts]


class Full:
    """A recording whose spool has no room for a fourth segment of the smallest size, and that delivers at its end."""

    def __init__(self, env: Any, folder: Path) -> None:
        self.transport = FakeTransport()
        self._released = threading.Event()
        self.transport.before_send = lambda events: self._wait()
        self.env = record(env, "full", transport=self.transport, spool_dir=folder, drain_timeout=20)

    def _wait(self) -> None:
        self._released.wait(20)

    def until_full(self, step: Callable[[], Any]) -> int:
        """Steps until recording has stopped, and some more; returns with which it did."""
        for count in range(1, 100_000):
            with telling() as told:
                step()
            if told:
                assert "recording stopped" in told[0]
                assert not self.env.is_recording
                for _ in range(3):
                    step()
                return count
        raise AssertionError("the spool has room for everything")

    def runs(self) -> list[Run]:
        self._released.set()
        with pytest.raises(SpoolFull):
            self.env.close()
        runs = [run for run in recorded_runs(self.transport.events) if run.end and not run.end.discarded]
        for run in runs:
            assert run.end is not None
            assert len(run.observations) == len(run.actions) + run.end.has_final
            episode = place(run.observations[0])[0]
            assert [place(o) for o in run.observations] == [
                [episode, i] for i in range(len(run.observations))
            ]
        return runs

    def release(self) -> None:
        self._released.set()


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Full]]:
    monkeypatch.setenv("TUPLI_SPOOL_LIMIT", str(3 << 20))
    made: list[Full] = []

    def make(env: Any) -> Full:
        made.append(Full(env, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.release()
        with contextlib.suppress(SpoolFull), warnings.catch_warnings():
            warnings.simplefilter("ignore", TupliWarning)
            one.env.close()


Make = Callable[[Any], Full]


@pytest.mark.parametrize("env", [Texts, Numbers])
def test_the_step_with_which_a_spool_is_full_is_kept(env: Any, full: Make) -> None:
    recording = full(env(LONG))
    recording.env.reset()
    steps = recording.until_full(lambda: recording.env.step(0))
    (run,) = recording.runs()
    assert run.end is not None
    assert (run.end.n_steps, run.end.aborted, run.end.reason) == (steps, True, "spool full")
    assert run.end.has_final == (env is Numbers)


@pytest.mark.parametrize("env", [Texts, Numbers])
def test_an_end_with_which_a_spool_is_full_is_kept(env: Any, full: Make) -> None:
    """Only final observations are long."""
    recording = full(env(LONG, ends_at=2, every=3))
    count = 0

    def step() -> None:
        nonlocal count
        recording.env.reset()
        count += recording.env.is_recording
        recording.env.step(0)
        recording.env.step(0)

    recording.until_full(step)
    ends = [run.end for run in recording.runs() if run.end]
    whole = (
        ends if env is Texts else [end for end in ends if not end.aborted]
    )  # numbers take rows, final or not
    assert [(end.n_steps, end.terminated, end.aborted) for end in whole] == [(2, True, False)] * len(whole)
    assert count - len(whole) in ({0} if env is Texts else {0, 1})


def vector(mode: AutoresetMode, *envs: Texts) -> Any:
    return SyncVectorEnv([lambda env=env: env for env in envs], autoreset_mode=mode)  # type: ignore[misc]  # bound at once


@pytest.mark.parametrize("mode", MODES)
def test_slots_whose_observations_have_room_in_a_full_spool_end_on_them(
    mode: AutoresetMode, full: Make
) -> None:
    recording = full(vector(mode, Texts(10), Texts(LONG, every=3), Texts(20)))
    recording.env.reset()
    steps = recording.until_full(lambda: recording.env.step(np.zeros(3, int)))
    runs = recording.runs()
    ends = [(run.end.n_steps, run.end.aborted, run.end.reason, run.end.has_final) for run in runs if run.end]
    assert ends == [(steps, True, "spool full", has_final) for has_final in (True, False, True)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env", [Texts, Numbers])
@pytest.mark.parametrize("ends_at", [1, 2, 3])
@pytest.mark.parametrize("size", range(20_000, 22_000, 400))
def test_ends_of_slots_with_which_a_spool_is_full_are_kept(
    mode: AutoresetMode, env: Any, ends_at: int, size: int, full: Make
) -> None:
    """Also where the final rows leave no room for a block of next observations."""
    recording = full(vector(mode, env(size, ends_at), env(size), env(size, ends_at)))
    recording.env.reset()
    steps = recording.until_full(lambda: recording.env.step(np.zeros(3, int)))
    runs = recording.runs()
    by_slot = [[run for run in runs if run.start and run.start.slot == slot] for slot in range(3)]
    (long,) = by_slot[1]
    assert long.end is not None
    assert (long.end.n_steps, long.end.aborted, long.end.reason) == (steps, True, "spool full")
    period = ends_at + (mode == AutoresetMode.NEXT_STEP)
    whole, rest = divmod(steps, period)
    lengths = [ends_at] * whole + [min(rest, ends_at)] * (rest > 0)
    for slot in (0, 2):
        ends = [run.end for run in by_slot[slot] if run.end]
        assert [end.n_steps for end in ends] == lengths
        assert [end.terminated for end in ends] == [length == ends_at for length in lengths]
        assert all(end.terminated != end.aborted for end in ends)


def test_long_texts_of_many_slots_get_a_segment_with_room(tmp_path: Path) -> None:
    transport = FakeTransport()
    envs = vector(AutoresetMode.NEXT_STEP, *(Texts() for _ in range(8)))
    with record(envs, "texts", transport=transport, spool_dir=tmp_path) as env:
        env.reset()
        for _ in range(10):
            env.step(np.zeros(8, int))
    runs = recorded_runs(transport.events)
    assert [[place(o) for o in run.observations] for run in runs] == [[[1, i] for i in range(11)]] * 8


def test_parts_that_grow_get_a_segment_with_room(tmp_path: Path) -> None:
    transport, inner = FakeTransport(), Growing()
    with record(inner, "texts", transport=transport, spool_dir=tmp_path) as env:
        seen = [env.reset()[0]] + [env.step(0)[0] for _ in range(4)]
    (run,) = recorded_runs(transport.events)
    assert run.observations == seen
