"""An actor process: records a deterministic environment and counts its completed steps in a mapped file.

`python actor.py MODE URL SPOOL COUNTER`; MODE is `single`, `vector`, `fork`, `exit`, `interrupt` or `abandon`.
"""

import mmap
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import tupli.recording
from tupli.recording import record

EPISODE = 50
KEPT: list[Any] = []
"""As a notebook's globals: what lives until the interpreter ends."""


class Walk(gymnasium.Env[Any, Any]):
    """Every value is a function of episode, step and action, so that any prefix can be checked."""

    def __init__(self, slot: int = 0) -> None:
        self.observation_space = gymnasium.spaces.Box(-1e9, 1e9, (3,), np.float64)
        self.action_space = gymnasium.spaces.Discrete(1_000_000)
        self.slot, self.episode, self.count = slot, 0, 0

    def _observe(self) -> Any:
        return np.array([self.slot, self.episode, self.count], np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.episode, self.count = self.episode + 1, 0
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        info = {"count": self.count, "name": "x" * (self.count % 5)}
        return self._observe(), float(action), False, self.count == EPISODE, info


def single(env: Any, counter: memoryview, steps: int) -> None:
    env.reset()
    for i in range(steps):
        if i == 0 or env.unwrapped.count == EPISODE:
            env.reset() if i else None
        env.step(np.int64(i))
        counter[0] = i + 1


def vector(env: Any, counter: memoryview, steps: int) -> None:
    env.reset()
    for i in range(steps):
        env.step(np.full(env.num_envs, i))
        counter[0] = i + 1


def main() -> None:
    mode, url, spool, file = sys.argv[1:5]
    descriptor = os.open(file, os.O_RDWR)
    counter = memoryview(mmap.mmap(descriptor, 4096)).cast("Q")
    steps = 10**9
    if mode == "vector":
        envs = gymnasium.vector.SyncVectorEnv([partial(Walk, slot) for slot in range(3)])
        vector(record(envs, "walk", url=url, spool_dir=spool), counter, steps)
        return
    env = record(Walk(), "walk", url=url, spool_dir=spool, drain_timeout=10.0)
    KEPT.append(env)
    if mode == "single":
        single(env, counter, steps)
    elif mode == "exit":
        single(env, counter, 120)  # no close: the interpreter's exit delivers
    elif mode == "interrupt":
        single(env, counter, 30)
        raise KeyboardInterrupt
    elif mode == "fork":
        single(env, counter, 30)
        child = os.fork()
        if child == 0:
            single(env, counter, 20)
            env.close()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        for i in range(10):
            env.step(np.int64(1000 + i))
        env.close()
        sys.exit(os.waitstatus_to_exitcode(status))
    elif mode == "spool only":
        Path(spool).mkdir(exist_ok=True)


if __name__ == "__main__":
    assert tupli.recording is not None
    main()
