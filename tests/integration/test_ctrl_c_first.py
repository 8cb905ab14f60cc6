"""Ctrl-C while a stream, its step schema, its segments and its threads are made: only that episode may be lost."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np
import pytest

from support.interrupts import NEVER, interrupted_at
from support.loop_oracle import Run, recorded_runs
from tupli.errors import TupliWarning
from tupli.recording import record, shipper
from tupli.recording.job import StreamJob
from tupli.spool import writer
from tupli.spool.segment import Segment
from tupli.transport import FakeTransport

STEPS: Final = 3
SLOTS: Final = 2
SIZE: Final = 512
"""Numbers of an observation: a few episodes fill a segment of the least size."""
EPISODES: Final = 5
FIRST: Final = (np.float32,) * EPISODES
CHANGED: Final = (np.float32, np.float64, np.float64, np.float32, np.float32)
"""The type of each episode's observations; the second one is interrupted."""
THREADS: Final = ["tupli-checksums", "tupli-segments", "tupli-shipper"]


class Threads(shipper.Background):
    """Threads of which those of the names in `over` end."""

    def __init__(self) -> None:
        super().__init__()
        self.over: set[str] = set()

    def jobs(self) -> list[StreamJob]:
        if threading.current_thread().name in self.over:
            raise SystemExit
        return super().jobs()

    def _run(self, name: str, work: Callable[[], None]) -> None:
        with contextlib.suppress(SystemExit):
            super()._run(name, work)

    def alive(self) -> list[str]:
        return sorted(name for name, thread in self._threads.items() if thread.is_alive())


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MIN_SEGMENT", 1 << 16)


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Threads]]:
    """A process that has recorded nothing yet; a place for those of each of several."""
    made: list[Threads] = []
    monkeypatch.setattr(shipper, "_background", None)
    yield made
    for threads in made:
        threads.over.update(THREADS)


def fresh(made: list[Threads]) -> Threads:
    """Other threads, none of which runs."""
    threads = Threads()
    for before in made[-1:]:
        before.over.update(THREADS)
    made.append(threads)
    shipper._background = threads
    return threads


def observation(episode: int, step: int, slot: int = 0) -> Any:
    """What the environment says: of the types with which 0.1 differs."""
    kind = CHANGED[episode - 1] if Told.changes else np.float32
    out = np.full(SIZE, step, kind)
    out[:2] = episode + 0.1, slot
    return out


class Told(gym.Env[Any, Any]):
    """One environment whose observations say which episode and step they are of."""

    observation_space = gym.spaces.Box(-9, 999, (SIZE,), np.float32)
    action_space = gym.spaces.Discrete(10)
    changes = False

    def __init__(self) -> None:
        self.episode = self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.episode, self.t = self.episode + 1, 0
        return observation(self.episode, 0), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return observation(self.episode, self.t), 1.0, self.t >= STEPS, False, {}


class ToldVector(gym.vector.VectorEnv[Any, Any, Any]):
    """Slots that begin and end together."""

    num_envs = SLOTS
    single_observation_space = Told.observation_space
    single_action_space = Told.action_space
    observation_space = gym.vector.utils.batch_space(Told.observation_space, SLOTS)
    action_space = gym.vector.utils.batch_space(Told.action_space, SLOTS)

    def __init__(self) -> None:
        self.metadata = {"autoreset_mode": "DISABLED"}
        self.episode = self.t = 0

    def _seen(self) -> Any:
        return np.stack([observation(self.episode, self.t, slot) for slot in range(SLOTS)])

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.episode, self.t = self.episode + 1, 0
        return self._seen(), {}

    def step(self, actions: Any) -> Any:
        self.t += 1
        over = np.full(SLOTS, self.t >= STEPS)
        return self._seen(), np.ones(SLOTS), over, np.zeros(SLOTS, bool), {}


def play(folder: Path, threads: Threads, where: str, line: int, *, slots: int) -> int:
    """Episodes of which one is interrupted; the lines that the recorder ran where it was not."""
    transport = FakeTransport()
    told: Any = ToldVector() if slots > 1 else Told()
    wrapped = record(told, "b", transport=transport, spool_dir=folder, drain_timeout=5.0)
    interrupted, ran = 2 if Told.changes else 1, 0
    for episode in range(1, EPISODES + 1):
        try:
            here = (episode, where) == (interrupted, "reset")
            with interrupted_at(line if here else NEVER) as seen:
                wrapped.reset()
            ran = seen[0] if here else ran
            for step in range(STEPS):
                here = (episode, where, step) == (interrupted, "step", 0)
                with interrupted_at(line if here else NEVER) as seen:
                    wrapped.step(np.full(slots, step) if slots > 1 else step)
                ran = seen[0] if here else ran
        except KeyboardInterrupt:
            continue
    assert threads.alive() == THREADS
    wrapped.close()
    runs = recorded_runs(transport.events)
    begun = set(range(1, told.episode + 1))
    lost = {interrupted} if told.episode == EPISODES else set()  # else Ctrl-C came before the reset
    for slot in range(slots):
        of_slot = [run for run in runs if run.start is not None and run.start.slot == slot]
        assert check(of_slot, slot, lost) | lost == begun, "an episode is lost"
    assert [path for path in folder.rglob("*") if path.is_file()] == [], "something is left"
    return ran


def check(runs: list[Run], slot: int, lost: set[int]) -> set[int]:
    """What was delivered of a slot is what a plain loop says; the episodes that are whole."""
    whole: set[int] = set()
    for run in runs:
        assert run.end is not None
        if not run.observations:
            continue
        episode = int(run.observations[0][0])
        for step, seen in enumerate(run.observations):
            np.testing.assert_array_equal(
                np.asarray(seen, np.float64), observation(episode, step, slot).astype(np.float64)
            )
        assert run.actions == list(range(len(run.actions)))
        if run.end.terminated and len(run.observations) == STEPS + 1 and run.end.n_steps == STEPS:
            assert episode not in whole, "an episode that comes twice"
            whole.add(episode)
        else:
            assert episode in lost, "an episode that is not whole"
    return whole


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize(
    ("slots", "changes", "where", "first", "stride"),
    [
        (1, False, "reset", 1, 2),
        (1, False, "step", 1, 3),
        (1, True, "reset", 2, 2),
        (1, True, "step", 2, 3),
        (2, False, "reset", 1, 3),
        (2, False, "step", 2, 6),
        (2, True, "reset", 3, 3),
        (2, True, "step", 5, 6),
    ],
)
def test_ctrl_c_while_something_is_made(
    slots: int,
    changes: bool,  # noqa: FBT001 -- a case
    where: str,
    first: int,
    stride: int,
    tmp_path: Path,
    no_threads: list[Threads],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Told, "changes", changes)
    line, ran = first, 0
    while not 0 < ran < line:  # it has no more lines than that
        ran = play(tmp_path / str(line), fresh(no_threads), where, line, slots=slots)
        line += stride
    assert line > 5


def test_a_thread_that_ended_is_started_again(tmp_path: Path, no_threads: list[Threads]) -> None:
    threads = fresh(no_threads)
    env = record(Told(), "b", transport=FakeTransport(), spool_dir=tmp_path)
    env.reset()
    env.step(0)
    shipper_before = threads._threads["tupli-shipper"]
    others = [threads._threads[name] for name in THREADS[:2]]
    threads.over.add("tupli-shipper")
    shipper_before.join(5.0)
    threads.over.clear()
    assert threads.alive() == THREADS[:2]
    threads.add(env._stream.job)
    assert threads.alive() == THREADS
    assert [threads._threads[name] for name in THREADS[:2]] == others
    assert threads.jobs() == [env._stream.job]
    env.close()


def test_a_stream_that_holds_more_than_was_sent_is_not_removed(
    tmp_path: Path, no_threads: list[Threads]
) -> None:
    fresh(no_threads)
    transport = FakeTransport()
    env = record(Told(), "b", transport=transport, spool_dir=tmp_path, drain_timeout=5.0)
    for _ in range(2):
        env.reset()
        env.step(0)
    stream = env._stream
    job, now = stream.job, stream.writer.segment
    path = now.path.with_name("00000009.seg")
    lost = Segment.create(path, now.shape, now.meta)
    lost.word[0] = 5
    with pytest.warns(TupliWarning, match="5 rows"):
        env.close()
    assert path.exists()
    assert Segment.open(path).published() == (5, 0, False)
    assert (job.manifest.stream, job.done.is_set(), job.unacknowledged) == (path.parent.name, False, 5)
    assert (path.parent / "manifest.json").exists()


def test_a_segment_is_known_once(tmp_path: Path, no_threads: list[Threads]) -> None:
    fresh(no_threads)
    env = record(Told(), "b", transport=FakeTransport(), spool_dir=tmp_path)
    env.reset()
    env.step(0)
    job, segment = env._stream.job, env._stream.writer.segment
    job.add_segment(segment)
    assert list(job._segments) == [segment]
    env.close()
