"""What fresh processes do against the grown system: `python -m benchmarks.kafka_work FUNCTION ARGUMENTS...`."""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil

import tupli
from benchmarks import work
from benchmarks.harness import MIB
from benchmarks.synthetic import ACTION, Synthetic

CLOSING_THREADS = 32
NEVER = 10**9


def record(benchmark: str, steps: str) -> dict[str, Any]:
    """As `work.record`; also when it began (Unix seconds), and processor seconds."""
    began, used = time.time(), time.process_time()
    done = work.record(benchmark, steps)
    return done | {"began": began, "cpu_seconds": time.process_time() - used}


def paced(benchmark: str, rate: str, seconds: str, episode: str) -> dict[str, Any]:
    """Record so many steps a second, in whole episodes; `late` is by how much it fell behind, in seconds."""
    steps = int(float(rate) * float(seconds)) // int(episode) * int(episode)
    with tupli.record(Synthetic(episode=int(episode)), benchmark, drain_timeout=120) as env:
        env.reset()
        began = time.perf_counter()
        for number in range(1, steps + 1):
            _, _, _, truncated, _ = env.step(ACTION)
            if truncated and number < steps:
                env.reset()
            time.sleep(max(0.0, began + number / float(rate) - time.perf_counter()))
        late = time.perf_counter() - began - steps / float(rate)
    return {"steps": steps, "late": late}


def slow(benchmark: str, streams: str, rate: str, seconds: str, settled: str) -> dict[str, Any]:
    """So many streams, each of so many steps a second; resident memory `settled` seconds after the start and at the end.

    `began` and `ended` are Unix seconds, `late` is by how much the last step came too late.
    """
    count, period, process = int(streams), 1 / float(rate), psutil.Process(os.getpid())
    envs = [tupli.record(Synthetic(episode=NEVER), benchmark, drain_timeout=120) for _ in range(count)]
    for env in envs:
        env.reset()
    began = time.time()
    memory: list[Any] = []
    rounds, at_once = round(float(seconds) * float(rate)), max(count // 25, 1)
    for number in range(rounds):
        if not memory and time.time() - began >= float(settled):
            memory.append(process.memory_info())
        for at in range(0, count, at_once):
            time.sleep(max(0.0, began + (number + at / count) * period - time.time()))
            for env in envs[at : at + at_once]:
                env.step(ACTION)
    ended = time.time()
    memory.append(process.memory_info())
    with ThreadPoolExecutor(CLOSING_THREADS) as threads:
        list(threads.map(lambda env: env.close(), envs))
    before, after = memory[0], memory[-1]
    return {
        "steps": rounds * count,
        "began": began,
        "ended": ended,
        "late": ended - began - rounds * period,
        "rss": after.rss / MIB,
        "growth": (after.rss - before.rss) / MIB,
        "growth_of_its_own": (after.rss - after.shared - before.rss + before.shared) / MIB,
    }


_ = tupli.record  # imported when it is used: here, before anything is measured

WORK = {one.__name__: one for one in (record, paced, slow)}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(WORK[sys.argv[1]](*sys.argv[2:])) + "\n")
