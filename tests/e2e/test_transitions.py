"""What a plain loop collects is what comes back: recorded through a real server, compared element by element."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import tupli
from support.environments import (
    IDS,
    assert_same,
    make,
    make_vector,
    modes,
    plain_runs,
    play,
    play_vector,
)
from support.loop_oracle import Run
from support.server_process import ServerProcess
from tupli.datasets.reading import EpisodeData

SLOTS = 3
SEED = 11


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as server:
        yield server


def row(batch: Any, index: int) -> Any:
    """One row of arrays, dicts and tuples of arrays."""
    if isinstance(batch, dict):
        return {key: row(member, index) for key, member in batch.items()}
    if isinstance(batch, tuple):
        return tuple(row(member, index) for member in batch)
    return batch[index]


def check(episode: EpisodeData, run: Run) -> None:
    """One episode, as it came back, is the one that the loop saw."""
    header = episode.header
    ended = run.terminated[-1] or run.truncated[-1]
    status = ("terminated" if run.terminated[-1] else "truncated") if ended else "aborted"
    assert (header.status, header.n_tuples, header.seed) == (status, len(run.actions), run.seed)
    assert header.return_ == pytest.approx(sum(run.rewards), rel=1e-12)
    assert_same(header.reset_info, run.reset_info, "reset_info")
    assert len(episode) == len(run.actions)
    for index, observation in enumerate(run.observations):
        assert_same(row(episode.observations, index), observation, f"observation {index}")
    for index, action in enumerate(run.actions):
        assert_same(row(episode.actions, index), action, f"action {index}")
    assert_same(episode.rewards, np.array(run.rewards, np.float64), "rewards")
    assert_same(episode.terminated, np.array(run.terminated), "terminated")
    assert_same(episode.truncated, np.array(run.truncated), "truncated")
    assert_same(tuple(episode.infos), tuple(run.infos), "infos")


def check_table(data: dict[str, Any], runs: Sequence[Run]) -> None:
    """The same rows as one table."""
    at = 0
    for number, run in enumerate(runs):
        for step, action in enumerate(run.actions):
            assert (data["episode"][at], data["step"][at]) == (number, step)
            assert_same(row(data["observation"], at), run.observations[step], f"observation {at}")
            assert_same(row(data["next_observation"], at), run.observations[step + 1], f"next {at}")
            assert_same(row(data["action"], at), action, f"action {at}")
            at += 1
    assert at == len(data["reward"])
    assert data["has_next"].all()
    for word, parts in (("reward", "rewards"), ("terminated", "terminated"), ("truncated", "truncated")):
        dtype = np.float64 if word == "reward" else np.bool_
        assert_same(data[word], np.concatenate([np.array(getattr(run, parts), dtype) for run in runs]), word)


def check_benchmark(name: str, url: str, plain: list[list[Run]]) -> None:
    """Everything in the benchmark is what each slot's plain loop collected, and nothing else."""
    dataset = tupli.dataset(name, url=url)
    episodes = list(dataset.iter_episodes())
    slots = [episode.header.slot for episode in episodes]
    for slot, runs in enumerate(plain):
        mine = [episode for episode in episodes if episode.header.slot == slot]
        assert len(mine) == len(runs) > 2
        for episode, run in zip(mine, runs, strict=True):
            check(episode, run)
    left = [iter(runs) for runs in plain]
    check_table(dataset.to_numpy(), [next(left[slot]) for slot in slots])


@pytest.mark.parametrize("kind", IDS)
def test_a_single_environment_is_the_same_as_a_plain_loop(
    kind: str, server: ServerProcess, tmp_path: Path
) -> None:
    name = f"{kind}-single"
    with tupli.record(make(kind), name, url=server.url, spool_dir=tmp_path) as env:
        actions = play(env, 90, SEED)
    check_benchmark(name, server.url, [plain_runs(make(kind), actions, SEED)])


@pytest.mark.parametrize("mode", modes())
@pytest.mark.parametrize("kind", IDS)
def test_a_vector_is_the_same_as_plain_loops(
    kind: str, mode: str, server: ServerProcess, tmp_path: Path
) -> None:
    name = f"{kind}-{mode}"
    with tupli.record(make_vector(kind, SLOTS, mode), name, url=server.url, spool_dir=tmp_path) as envs:
        taken = play_vector(envs, 90, SEED, mode)
    plain = [plain_runs(make(kind), taken[slot], SEED + slot) for slot in range(SLOTS)]
    check_benchmark(name, server.url, plain)


def test_a_native_vector_is_the_same_as_its_twin(server: ServerProcess, tmp_path: Path) -> None:
    """CartPole's own vector implementation steps all slots at once; its twin is not recorded."""

    def made() -> Any:
        return gym.make_vec("CartPole-v1", num_envs=SLOTS, vectorization_mode="vector_entry_point")

    with tupli.record(made(), "native", url=server.url, spool_dir=tmp_path) as envs:
        play_vector(envs, 90, SEED, "next_step")
    plain = _twin_runs(made(), 90)
    episodes = list(tupli.dataset("native", url=server.url).iter_episodes())
    for slot, runs in enumerate(plain):
        mine = [episode for episode in episodes if episode.header.slot == slot]
        for episode, run in zip(mine, runs, strict=True):
            check(episode, run)


def _twin_runs(envs: Any, steps: int) -> list[list[Run]]:
    envs.action_space.seed(SEED)
    observations, _ = envs.reset(seed=SEED)
    runs = [[Run([observations[slot].copy()], reset_info={}, seed=SEED + slot)] for slot in range(SLOTS)]
    resetting = np.zeros(SLOTS, bool)
    for _ in range(steps):
        actions = envs.action_space.sample()
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        for slot in range(SLOTS):
            if resetting[slot]:
                runs[slot].append(Run([observations[slot].copy()], reset_info={}))
                continue
            run = runs[slot][-1]
            run.observations.append(observations[slot].copy())
            run.actions.append(actions[slot])
            run.rewards.append(rewards[slot])
            run.terminated.append(bool(terminated[slot]))
            run.truncated.append(bool(truncated[slot]))
            run.infos.append({})
        resetting = terminated | truncated
    return [[run for run in per_slot if run.actions] for per_slot in runs]
