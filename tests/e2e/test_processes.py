"""Recordings in several processes and threads: each has a stream of its own, and none touches another's."""

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from support import processes
from support.actor import EPISODE, Walk
from support.actor_process import check_walk
from support.loop_oracle import Run, recorded_runs
from support.tiny_server import TinyServer, tiny_server
from tupli.recording import record
from tupli.recording.flush import flush_dead, status
from tupli.transport import FakeTransport, HttpTransport

RESETS = 30


@pytest.fixture
def server() -> Iterator[TinyServer]:
    with tiny_server() as server:
        yield server


def actions_of(runs: list[Run]) -> list[list[int]]:
    return sorted([int(action) for action in run.actions] for run in runs)


def streams_of(runs: list[Run]) -> int:
    return len({run.start.stream for run in runs if run.start is not None})


def flush(spool: Path, url: str) -> None:
    transport = HttpTransport(url)
    flush_dead(spool, transport)
    transport.close()
    assert status(spool) == []


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_that_are_started_anew(method: str, server: TinyServer, tmp_path: Path) -> None:
    """A wrapper that goes to a child as a copy records there when it is told to, in a stream of its own."""
    context: Any = multiprocessing.get_context(method)
    spool = str(tmp_path)
    with processes.recorded(server.url, spool) as env:
        env.reset()
        processes.walk(env, 0, 3)
        children = [
            context.Process(target=processes.child, args=(env, server.url, spool)),
            context.Process(target=processes.child_that_closes_nothing, args=(server.url, spool)),
        ]
        for child in children:
            child.start()
        processes.walk(env, 3, 2)
        for child in children:
            child.join(60)
        assert [child.exitcode for child in children] == [0, 0]
        processes.walk(env, 5, 1)
    flush(tmp_path, server.url)
    runs = recorded_runs(server.kept.events)
    assert actions_of(runs) == [
        list(range(first, last)) for first, last in ((0, 6), (200, 205), (300, 305), (400, 405))
    ]
    assert streams_of(runs) == 4
    for run in runs:
        check_walk(run)


def run(body: Callable[[str, str], None], server: TinyServer, spool: Path) -> None:
    command = [sys.executable, processes.__file__, body.__name__, server.url, str(spool)]
    path = os.pathsep.join([str(Path(processes.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert ended.returncode == 0, ended.stderr


def test_a_fork_with_two_wrappers(server: TinyServer, tmp_path: Path) -> None:
    run(processes.two_wrappers_and_a_fork, server, tmp_path)
    runs = recorded_runs(server.kept.events)
    assert streams_of(runs) == 4
    parents = [[*range(100 * n, 100 * n + 30), *range(1_000 + 100 * n, 1_005 + 100 * n)] for n in (0, 1)]
    children = [[*range(2_000 + 100 * n, 2_005 + 100 * n)] for n in (0, 1)]
    assert actions_of(runs) == sorted(parents + children)
    assert status(tmp_path) == []


def test_a_fork_with_a_vector_that_the_child_never_closes(server: TinyServer, tmp_path: Path) -> None:
    run(processes.a_vector_and_a_fork, server, tmp_path)
    flush(tmp_path, server.url)
    runs = recorded_runs(server.kept.events)
    assert streams_of(runs) == 2
    assert actions_of(runs) == sorted([[*range(first, first + 5)] for first in (0, 100, 200)] * 2)
    for each in runs:
        check_walk(each)


def test_a_child_records_nothing_of_a_slot_before_its_next_reset(server: TinyServer, tmp_path: Path) -> None:
    run(processes.a_vector_that_forks_before_its_first_step, server, tmp_path)
    runs = recorded_runs(server.kept.events)
    assert actions_of(runs) == [[0, 1, 2], [0, 1, 2], [104, 105, 106], [108], [108]]
    for each in runs:
        check_walk(each)
        assert each.observations[0][2] == 0
    assert [each.start.seed for each in runs if each.start is not None and each.actions[0]] == [None] * 3


def test_a_child_does_not_take_its_episode_for_the_parents(server: TinyServer, tmp_path: Path) -> None:
    run(processes.a_fork_and_the_first_extra_fact, server, tmp_path)
    runs = recorded_runs(server.kept.events)
    assert actions_of(runs) == [[0, 1, 2, 3], [10], [200, 201, 202, 203, 204]]
    for each in runs:
        check_walk(each)
        assert each.end is not None
        assert not each.end.discarded


def test_wrappers_in_threads(tmp_path: Path) -> None:
    """Two threads record at once, and one of them goes on with an environment that another began."""
    transport = FakeTransport()
    begun = record(Walk(), "walk", transport=transport, spool_dir=tmp_path)
    begun.reset()
    processes.walk(begun, 0, 10)
    errors: list[BaseException] = []

    def loop(env: Any, first: int, resets: int) -> None:
        try:
            for number in range(resets):
                env.reset()
                processes.walk(env, first + EPISODE * number, EPISODE)
            env.close()
        except BaseException as error:  # noqa: BLE001 -- shown by the test
            errors.append(error)

    def own(first: int) -> None:
        loop(record(Walk(), "walk", transport=transport, spool_dir=tmp_path), first, RESETS)

    threads = [threading.Thread(target=own, args=(first,)) for first in (100_000, 200_000)]
    threads.append(threading.Thread(target=loop, args=(begun, 300_000, RESETS)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    runs = recorded_runs(transport.events)
    expected = [[*range(10)]]
    for first in (100_000, 200_000, 300_000):
        expected += [[*range(first + EPISODE * n, first + EPISODE * (n + 1))] for n in range(RESETS)]
    assert actions_of(runs) == expected
    assert streams_of(runs) == 3
    for each in runs:
        check_walk(each)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda envs: pickle.loads(pickle.dumps(envs))], ids=["copy", "pickle"]
)
def test_a_copy_of_a_vector_records_when_it_is_told_to(
    copied: Callable[[Any], Any], server: TinyServer, tmp_path: Path
) -> None:
    with record(gym.vector.SyncVectorEnv([Walk, Walk]), "walk", url=server.url, spool_dir=tmp_path) as envs:
        envs.reset()
        envs.step(np.full(2, 0))
        with copied(envs) as twin:
            twin.step(np.full(2, 100))
            twin.activate_recording()
            twin.reset()
            twin.step(np.full(2, 200))
        envs.step(np.full(2, 1))
    runs = recorded_runs(server.kept.events)
    assert actions_of(runs) == [[0, 1], [0, 1], [200], [200]]
    assert streams_of(runs) == 2
