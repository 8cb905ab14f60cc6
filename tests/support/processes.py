"""What processes of the tests do, each on its own: `python processes.py NAME URL SPOOL`, or as a child of a pool.

All of them record `Walk`, whose actions count on; the first action says whose they are.
"""

import json
import os
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np

from support.actor import EPISODE, Walk
from tupli.errors import SpoolFull
from tupli.recording import record
from tupli.recording.flush import flush_dead
from tupli.transport import HttpTransport

KEPT: list[Any] = []
"""As a notebook's globals."""


def walk(env: Any, first: int, steps: int) -> None:
    """Steps whose actions count from `first`."""
    for action in range(first, first + steps):
        env.step(np.int64(action))


def recorded(url: str, spool: str) -> Any:
    """A recorded `Walk`."""
    return record(Walk(), "walk", url=url, spool_dir=spool)


def child(env: Any, url: str, spool: str) -> None:
    """Has a copy of the parent's wrapper, and one of its own."""
    env.reset()
    walk(env, 100, 5)  # a copy records nothing before it is told to
    env.activate_recording()
    env.reset()
    walk(env, 200, 5)
    with recorded(url, spool) as own:
        own.reset()
        walk(own, 300, 5)
    env.close()


def child_that_closes_nothing(url: str, spool: str) -> None:
    """Ends as children of a pool end: without a word."""
    env = recorded(url, spool)
    KEPT.append(env)
    env.reset()
    walk(env, 400, 5)


def two_wrappers_and_a_fork(url: str, spool: str) -> None:
    """Parent and child both go on with both."""
    envs = [recorded(url, spool) for _ in range(2)]
    for number, env in enumerate(envs):
        env.reset()
        walk(env, 100 * number, 30)
    pid = os.fork()
    for number, env in enumerate(envs):
        if pid == 0:
            walk(env, 9_000, 3)  # the parent's episode: not the child's to record
            env.reset()
        walk(env, 1_000 * (1 if pid else 2) + 100 * number, 5)
    for env in envs:
        env.close()
    if pid == 0:
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


def a_vector_and_a_fork(url: str, spool: str) -> None:
    """The same with a vector, that is not closed by the child."""
    envs = record(gym.vector.SyncVectorEnv([Walk, Walk]), "walk", url=url, spool_dir=spool)
    envs.reset()
    for action in range(5):
        envs.step(np.full(2, action))
    pid = os.fork()
    envs.reset()
    for action in range(5):
        envs.step(np.full(2, (100 if pid else 200) + action))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    envs.close()


class Ends(Walk):
    """Ends after `length` steps."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def step(self, action: Any) -> Any:
        observation, reward, _, _, info = super().step(action)
        return observation, reward, self.count == self.length, False, info


def a_vector_that_forks_before_its_first_step(url: str, spool: str) -> None:
    """The child makes no reset of its own: its slots are reset one after the other, when their episodes end."""
    vector = gym.vector.SyncVectorEnv([lambda: Ends(3), lambda: Ends(7)])
    envs = record(vector, "walk", url=url, spool_dir=spool)
    envs.reset(seed=7)
    pid = os.fork()
    for action in range(3) if pid else range(100, 109):
        envs.step(np.full(2, action))
    envs.close()
    if pid == 0:
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


def a_fork_and_the_first_extra_fact(url: str, spool: str) -> None:
    """The child tells it at the row where the parent's episode had begun."""
    inner = Ends(4)
    env = record(inner, "walk", url=url, spool_dir=spool)
    env.reset()
    walk(env, 0, 4)
    env.reset()
    walk(env, 10, 1)
    pid = os.fork()
    if pid == 0:
        inner.length = 9
        env.reset()
        walk(env, 200, 5)
        env.extra(logprob=-0.3)
        walk(env, 205, 4)
    env.close()
    if pid == 0:
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


class Wide(Walk):
    """Observations of 8 kB, which are `count` everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = gym.spaces.Box(-1e9, 1e9, (1_000,), np.float64)

    def _observe(self) -> Any:
        return np.full(1_000, self.count, np.float64)


def on_a_small_disk(url: str, spool: str) -> None:
    """Records until the disk of the spool is full, and goes on; tells what it saw as JSON."""
    env = record(Wide(), "wide", url=url, spool_dir=spool, drain_timeout=0.2)
    told: list[str] = []
    full, steps = 0, 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        while steps < 50_000 and (not full or steps < full + 1_000):
            if steps % EPISODE == 0:
                env.reset()
            env.step(np.int64(steps))
            steps += 1
            if caught and not full:
                full = steps
        try:
            env.close()
        except SpoolFull as error:
            told.append(str(error))
        told += [str(warning.message) for warning in caught]
    sys.stdout.write(json.dumps({"full": full, "steps": steps, "told": told}) + "\n")


def deliver(url: str, spool: str) -> None:
    """As `tupli spool flush`."""
    transport = HttpTransport(url)
    report = flush_dead(spool, transport)
    transport.close()
    sys.stdout.write(json.dumps({"left": report.left, "problems": report.problems}) + "\n")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
