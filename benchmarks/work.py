"""What fresh processes do: `python -m benchmarks.work FUNCTION ARGUMENTS...` prints one JSON object."""

import json
import os
import sys
import time
from typing import Any

import numpy as np

import tupli
from benchmarks.harness import PeakRss
from benchmarks.synthetic import ACTION, EPISODE, Frames, Synthetic
from tupli import F


def record(benchmark: str, steps: str, info_keys: str = "0", episode: str = str(EPISODE)) -> dict[str, Any]:
    """Record so many steps as fast as the environment goes; seconds until everything is visible."""
    env = Synthetic(int(info_keys), int(episode))
    with PeakRss(os.getpid()) as memory:
        start = time.perf_counter()
        with tupli.record(env, benchmark, drain_timeout=600) as recorded:
            produced = _loop(recorded, int(steps), ACTION)
        total = time.perf_counter() - start
    return {"seconds": total, "loop_seconds": produced, "rss_growth": memory.growth}


def record_frames(benchmark: str, frames: str, rate: str) -> dict[str, Any]:
    """Record 210x160x3 frames at a given rate; how long they took to be visible after the last one."""
    env = Frames(episode=300)
    period, count = 1.0 / float(rate), int(frames)
    start = time.perf_counter()
    with tupli.record(env, benchmark, drain_timeout=600) as recorded:
        recorded.reset()
        for number in range(1, count + 1):
            _, _, _, truncated, _ = recorded.step(np.int64(0))
            if truncated:
                recorded.reset()
            time.sleep(max(0.0, start + number * period - time.perf_counter()))
        produced = time.perf_counter() - start
    return {"loop_seconds": produced, "seconds": time.perf_counter() - start}


def pull(benchmark: str, repeats: str) -> dict[str, Any]:
    """Pull to NumPy, `repeats` times; seconds of each, the first in a fresh process."""
    seconds = []
    rows = 0
    for _ in range(int(repeats)):
        start = time.perf_counter()
        data = tupli.dataset(benchmark).to_numpy(
            columns=["observation", "action", "reward", "terminated", "truncated"]
        )
        seconds.append(time.perf_counter() - start)
        rows = len(data["reward"])
    return {"rows": rows, "seconds": seconds}


def batches(benchmark: str) -> dict[str, Any]:
    """Walk over everything in batches; how far memory grew."""
    with PeakRss(os.getpid()) as memory:
        start = time.perf_counter()
        rows = sum(len(batch["reward"]) for batch in tupli.dataset(benchmark).batches(65_536))
        seconds = time.perf_counter() - start
    return {"rows": rows, "seconds": seconds, "rss_growth": memory.growth}


def filtered(benchmark: str, threshold: str, next_observation: str) -> dict[str, Any]:
    """Pull the tuples above a threshold, with or without the next observation."""
    columns = ["observation", "action", "reward"] + (
        ["next_observation"] if next_observation == "next" else []
    )
    tuples = tupli.dataset(benchmark).with_tuple_filter(F("observation[3]") > float(threshold))
    seconds = []
    rows = 0
    for _ in range(3):
        start = time.perf_counter()
        rows = len(tuples.to_numpy(columns=columns)["reward"])
        seconds.append(time.perf_counter() - start)
    return {"rows": rows, "seconds": min(seconds)}


def _loop(env: Any, steps: int, action: Any) -> float:
    env.reset()
    start = time.perf_counter()
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return time.perf_counter() - start


_ = tupli.dataset, tupli.record  # imported when they are used: here, before anything is measured

WORK = {work.__name__: work for work in (record, record_frames, pull, batches, filtered)}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(WORK[sys.argv[1]](*sys.argv[2:])) + "\n")
