"""What belongs to one stream, one episode or one step is not met in the next."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from support.loop_oracle import Run, recorded_runs
from tupli.recording import record
from tupli.recording.config import RecordingConfig
from tupli.recording.single import SingleStream
from tupli.recording.stream import RecordingStream
from tupli.recording.vector import NEXT_STEP, VectorStream
from tupli.spool.manifest import BenchmarkState
from tupli.transport import FakeTransport
from tupli_schemas.ids import id_text, make_id

OTHER = BenchmarkState(id=id_text(make_id(1_700_000_000_000, 7)), resolved=True)
OF_THE_RECORDING = {
    *("active", "closed", "config", "drained", "entered", "full", "misfits", "mode", "short_way", "shortage"),
    *("slots", "_earlier", "_inherited", "_later", "_tells_extra", "_warned"),
    *("_ended", "_gap", "_resetting", "_stepping"),  # of the environment: who is to be reset
}
"""What a recording keeps from one stream to the next; whatever else it has is made anew."""


class Told(gymnasium.Env[Any, Any]):
    """Observations `[episode, count]`; calls `hooks[episode, count]` inside of that step."""

    def __init__(self, kind: str = "vectors", ends_at: int = 4) -> None:
        self.observation_space = gymnasium.spaces.Box(-1e9, 1e9, (2,), np.float32)
        vector = gymnasium.spaces.Box(-1e9, 1e9, (2,), np.float32)
        self.action_space = vector if kind == "vectors" else gymnasium.spaces.Discrete(100)
        self.ends_at, self.episode, self.count = ends_at, 0, 0
        self.hooks: dict[tuple[int, int], Callable[[], Any]] = {}

    def action(self, i: int) -> Any:
        return np.full(2, i, np.float32) if self.action_space.shape == (2,) else np.int64(i)

    def _observe(self) -> Any:
        return np.array([self.episode, self.count], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.episode, self.count = self.episode + 1, 0
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        self.hooks.get((self.episode, self.count), lambda: None)()
        return self._observe(), float(self.count), self.count == self.ends_at, False, {}


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport()


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def episodes(env: Any, *steps: int) -> None:
    inner = env.unwrapped
    for count in steps:
        env.reset()
        for i in range(count):
            env.step(inner.action(i))


def whole_runs(transport: FakeTransport) -> list[Run]:
    """The episodes that are in datasets; each is of one episode of the environment, from its beginning."""
    runs = [run for run in recorded_runs(transport.events) if run.end is not None and not run.end.discarded]
    for run in runs:
        episode = run.observations[0][0]
        assert [o.tolist() for o in run.observations] == [[episode, i] for i in range(len(run.actions) + 1)]
        assert [np.ravel(action)[0] for action in run.actions] == list(range(len(run.actions)))
    return runs


# --- streams --------------------------------------------------------------------------------------------------------


def test_an_episode_is_not_taken_for_one_of_the_stream_before(
    transport: FakeTransport, tmp_path: Path
) -> None:
    """The first extra fact comes at the row where an episode had begun in the stream before."""
    with record(Told(), "told", transport=transport, spool_dir=tmp_path) as env:
        episodes(env, 4, 1)  # the second begins at row 5
        env.bind_benchmark(OTHER)
        env.unwrapped.ends_at = 9
        env.reset()
        for i in range(9):
            if i == 5:
                env.extra(logprob=-0.3)
            env.step(env.unwrapped.action(i))
    assert [len(run.actions) for run in whole_runs(transport)] == [4, 1, 5]


def kept(stream: RecordingStream) -> dict[str, Any]:
    return {name: value for name, value in vars(stream).items() if name not in OF_THE_RECORDING}


def settings(env: Any) -> RecordingConfig:
    config: RecordingConfig = env._stream.config
    return config


def test_a_single_recording_begins_each_stream_anew(transport: FakeTransport, tmp_path: Path) -> None:
    with record(Told(), "told", transport=transport, spool_dir=tmp_path) as env:
        env.metadata_callback = lambda item: {"reward": item.reward}
        episodes(env, 4, 2)
        env.annotate(site="lab")
        env.extra(logprob=-0.3)
        env.bind_benchmark(OTHER)
        assert kept(env._stream) == kept(SingleStream(settings(env)))
        episodes(env, 4)
    assert [len(run.actions) for run in whole_runs(transport)] == [4, 2, 4]


def test_a_vector_recording_begins_each_stream_anew(transport: FakeTransport, tmp_path: Path) -> None:
    envs = SyncVectorEnv([Told, Told], autoreset_mode=AutoresetMode.NEXT_STEP)
    with record(envs, "told", transport=transport, spool_dir=tmp_path) as env:
        env.reset()
        for i in range(6):
            env.extra(logprob=np.zeros(2))
            env.step(np.full((2, 2), i, np.float32))
        env.extra(logprob=np.zeros(2))
        env.annotate(1, site="lab")
        env.bind_benchmark(OTHER)
        assert kept(env._stream) == kept(VectorStream(settings(env), 2, NEXT_STEP))


# --- steps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vectors", "scalars"])
@pytest.mark.parametrize("options", [{}, {"info": ["any"]}], ids=["short", "long"])
def test_the_first_fact_told_inside_the_first_step_of_a_later_episode_loses_no_step(
    kind: str, options: dict[str, Any], transport: FakeTransport, tmp_path: Path
) -> None:
    with record(Told(kind), "told", transport=transport, spool_dir=tmp_path, **options) as env:
        env.unwrapped.hooks[2, 1] = env.unwrapped.hooks[3, 1] = lambda: env.extra(logprob=-0.3)
        episodes(env, 4, 4, 4)
    first, second, third = whole_runs(transport)
    assert [len(run.actions) for run in (first, second, third)] == [4, 1, 4]
    assert second.end is not None
    assert second.end.aborted  # the fact is of its second step, and has no column
    assert np.isnan([facts["logprob"] for facts in third.extra]).tolist() == [True, False, True, True]


@pytest.mark.parametrize("fact", [-0.3, 7, "text"])
def test_a_fact_told_inside_the_very_first_step_is_of_the_second(
    fact: Any, transport: FakeTransport, tmp_path: Path
) -> None:
    with record(Told(), "told", transport=transport, spool_dir=tmp_path) as env:
        env.unwrapped.hooks[1, 1] = lambda: env.extra(fact=fact)
        episodes(env, 4)
    (run,) = whole_runs(transport)
    given = [facts["fact"] for facts in run.extra]
    assert given[1] == fact
    assert [value is None or value != value for value in given] == [True, False, True, True]  # noqa: PLR0124 -- NaN


def test_a_fact_told_inside_the_very_first_step_of_a_vector_is_of_the_second(
    transport: FakeTransport, tmp_path: Path
) -> None:
    envs = SyncVectorEnv([Told, Told], autoreset_mode=AutoresetMode.NEXT_STEP)
    with record(envs, "told", transport=transport, spool_dir=tmp_path) as env:
        inner: Any = envs.envs[1].unwrapped
        inner.hooks[1, 1] = lambda: env.extra(value=np.array([0.5, 1.5]))
        env.reset()
        for i in range(4):
            env.step(np.full((2, 2), i, np.float32))
    runs = whole_runs(transport)
    assert [len(run.actions) for run in runs] == [4, 4]
    assert [run.extra[1]["value"] for run in runs] == [0.5, 1.5]
    assert all(np.isnan(run.extra[i]["value"]) for run in runs for i in (0, 2, 3))


def test_a_fact_of_a_vector_step_that_is_not_recorded_is_of_no_later_one(
    transport: FakeTransport, tmp_path: Path
) -> None:
    envs = SyncVectorEnv([Told, Told], autoreset_mode=AutoresetMode.NEXT_STEP)
    with record(envs, "told", transport=transport, spool_dir=tmp_path) as env:
        env.deactivate_recording()
        env.reset()
        env.step(np.zeros((2, 2), np.float32))
        env.activate_recording()
        env.extra(value=np.zeros(2))
        for _ in range(4):  # to the end, and over the autoreset
            env.step(np.zeros((2, 2), np.float32))
        for i in range(4):
            env.step(np.full((2, 2), i, np.float32))
    assert [(len(run.actions), run.extra) for run in whole_runs(transport)] == [(4, []), (4, [])]


def test_the_callback_gets_no_observation_of_an_episode_before(
    transport: FakeTransport, tmp_path: Path
) -> None:
    got: list[Any] = []

    def callback(item: Any) -> None:
        got.append((item.state.tolist(), item.action[0]))

    with record(Told(), "told", transport=transport, spool_dir=tmp_path) as env:
        env.metadata_callback = callback
        episodes(env, 2)
        env.metadata_callback = None
        episodes(env, 2)
        env.metadata_callback = callback  # which observation the next action is chosen on was not kept
        env.step(env.unwrapped.action(2))
        env.step(env.unwrapped.action(3))
    assert got == [([1, 0], 0), ([1, 1], 1), ([2, 3], 3)]


def test_facts_are_kept_where_a_segment_has_no_room_for_them(
    transport: FakeTransport, tmp_path: Path
) -> None:
    with record(Told(ends_at=60), "told", transport=transport, spool_dir=tmp_path) as env:
        env.reset()
        for i in range(60):
            env.extra(plan=f"{i}" * 20_000)
            env.step(env.unwrapped.action(i))
    (run,) = whole_runs(transport)
    assert [facts["plan"] for facts in run.extra] == [f"{i}" * 20_000 for i in range(60)]
