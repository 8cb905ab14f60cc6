"""What stands in the log, into the store: one worker and two draining a full topic, and a rebuild."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

import tupli
from benchmarks.harness import MIB, PeakRss
from benchmarks.kafka_deployment import Deployment
from benchmarks.kafka_fill import FRAMES, VECTORS, Filled, fill
from benchmarks.kafka_live import told
from benchmarks.kafka_scale import Scale
from benchmarks.kafka_shares import Meter, Shares
from benchmarks.kafka_store import Watch, WrongResult
from benchmarks.results import Result, at_least, at_most
from support.clickhouse_process import own_clickhouse
from support.ingest_sender import create_benchmark
from tupli import TupliAPIClient

DRAIN_GOAL: Final = 300_000
REBUILD_MIB: Final = 300
FRAMES_MIB: Final = 800
EPISODES_A_QUERY: Final = 10
REBUILD_SECONDS: Final = 600.0
JOINED_SECONDS: Final = 3.0
"""A group that has its members still deals out partitions for a moment."""


def drain(made: Deployment, folder: Path, scale: Scale) -> Iterator[Result]:
    """A full topic of 8 partitions, 256 steps a record, drained by one worker, and again by two."""
    filled = fill(made.grown, scale.drained)
    one, shares = _drained(made, filled, 1)
    yield at_least("one worker, a full topic", one, "steps/s", DRAIN_GOAL, shares.in_cores())
    for process in shares.by_process:
        peer = f"{shares.share(process):.0f} % of all"
        name = f"one worker, a full topic: {process}'s CPU"
        yield told(name, shares.per_million(process, filled.steps), "s/M", peer)
    with own_clickhouse(folder / "second") as store:
        made.begin_again(store)
        two, shares = _drained(made, filled, 2)
    yield told("two workers, the same topic", two, "steps/s", shares.in_cores())
    yield told("two workers against one", two / one, "x", _bound(shares))


def frames(made: Deployment, _: Path, scale: Scale) -> Iterator[Result]:
    """Large records in one worker's buffers: what it holds while the store answers nothing, and how fast it drains them."""
    filled = fill(made.grown, scale.frames, FRAMES)
    store = made.store()
    made.grown.clickhouse.fault(kind="hold", match=filled.kind.schema.layout.table)
    made.work(1)
    with PeakRss(made.pids["worker"]) as held:
        time.sleep(scale.held_seconds)
    with (
        Watch(store.written, 0.2) as watch,
        Meter(made.pids) as meter,
        PeakRss(made.pids["worker"]) as memory,
    ):
        made.grown.clickhouse.fault()
        watch.until(filled.rows)
        made.grown.settled(seconds=120)
    for line in made.rest():
        _tell(line)
    store.check(steps=filled.steps, ended=filled.episodes)
    name = f"{filled.rows} frames of 210x160x3, one worker"
    yield at_most(f"{name}: its memory while the store hangs", held.peak / MIB, "MiB", FRAMES_MIB)
    rate = watch.rate(filled.rows) * filled.steps / filled.rows
    yield told(name, rate, "frames/s", meter.shares.in_cores())
    yield told(f"{name}: its peak", memory.peak / MIB, "MiB")


def _drained(made: Deployment, filled: Filled, workers: int) -> tuple[float, Shares]:
    """Steps a second, and who used what.

    The store refuses rows until all workers are there, so that they begin together; what they fetched and decoded
    by then (at most a tenth) is in no rate.
    """
    store = made.store()
    made.grown.clickhouse.fault(kind="code", code=159, match=filled.kind.schema.layout.table)
    made.work(workers)
    time.sleep(JOINED_SECONDS)
    with Watch(store.written, 0.2) as watch, Meter(made.pids) as meter:
        made.grown.clickhouse.fault()
        watch.until(filled.rows)
        made.grown.settled(seconds=120)
    for line in made.rest():
        _tell(line)
    store.check(steps=filled.steps, ended=filled.episodes)
    return watch.rate(filled.rows) * filled.steps / filled.rows, meter.shares


def _bound(shares: Shares) -> str:
    """What is used up."""
    cores = {name: cpu / shares.seconds for name, cpu in shares.by_process.items()}
    first = max(cores, key=lambda name: cores[name])
    busy = shares.busy / shares.seconds
    return f"{busy:.2f} cores busy; the most: {first} {cores[first]:.2f}"


def _tell(line: str) -> None:
    """What a profiled worker found."""
    for stage, (wall, cpu, calls) in json.loads(line).items() if line else ():
        sys.stderr.write(f"  {stage:<40} {wall:>8.2f} s  {cpu:>8.2f} s of processor  {calls:>8} calls\n")


def rebuild(made: Deployment, _: Path, scale: Scale) -> Iterator[Result]:
    """A rebuild by one worker, while datasets are asked for."""
    url = made.serve(queries=True)
    create_benchmark(url)
    filled = fill(made.grown, scale.rebuilt)
    made.work(1)
    with Watch(made.store().written, 0.5) as watch:
        watch.until(filled.rows)
    made.grown.settled(seconds=120)
    made.store().check(steps=filled.steps, ended=filled.episodes)
    with (
        TupliAPIClient(url) as storage,
        PeakRss(made.pids["worker"]) as memory,
        Meter(made.pids) as meter,
        Watch(lambda: _query(storage), 0.2) as queries,
    ):
        seconds, generation = _rebuilt(url)
    made.store(generation).check(steps=filled.steps, ended=filled.episodes)
    for line in made.rest():
        _tell(line)
    rate = filled.steps / seconds
    name = f"rebuild of {filled.steps / 1e6:.2g} M steps, one worker"
    yield told(name, rate, "steps/s", meter.shares.in_cores())
    peak = f"peak {memory.peak / MIB:.0f} MiB"
    yield at_most(f"{name}: growth of its memory", memory.growth / MIB, "MiB", REBUILD_MIB, peak)
    took = np.array(queries.answers)
    peer = f"median {np.median(took):.2f} s, slowest {took.max():.2f} s of {len(took)}"
    yield told(f"{name}: queries meanwhile, 99th percentile", float(np.percentile(took, 99)), "s", peer)


def _rebuilt(url: str) -> tuple[float, int]:
    """Seconds until the next generation serves, and which that is."""
    began = time.monotonic()
    job = httpx.post(f"{url}/ingest/v1/rebuild", trust_env=False, timeout=60).raise_for_status().json()["job"]
    while True:
        time.sleep(0.2)
        answer = httpx.get(f"{url}/ingest/v1/rebuild", trust_env=False, timeout=60).raise_for_status().json()
        seconds = time.monotonic() - began
        if answer["state"] == "done":
            return seconds, int(job)
        if answer["state"] != "running" or seconds > REBUILD_SECONDS:
            raise WrongResult(f"the rebuild did not end well: {answer}")


def _query(storage: Any) -> float:
    """How long a few whole episodes took, all of which must be there all the time."""
    began = time.perf_counter()
    data = tupli.dataset("bench", storage=storage).limit_episodes(EPISODES_A_QUERY).to_numpy()
    if len(data["reward"]) != EPISODES_A_QUERY * VECTORS.steps:
        raise WrongResult(f"a query during the rebuild had {len(data['reward'])} steps")
    return time.perf_counter() - began
