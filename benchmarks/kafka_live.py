"""Recording over Kafka, measured: throughput to visible, an episode's end to visible, a thousand slow streams."""

import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

from benchmarks.harness import MIB, fresh
from benchmarks.kafka_deployment import Deployment
from benchmarks.kafka_scale import Scale
from benchmarks.kafka_shares import Meter, Shares
from benchmarks.kafka_store import Store, Watch, delays
from benchmarks.results import Result, at_most
from support.ingest_sender import create_benchmark
from support.ingest_streams import BENCHMARK
from tupli_schemas.events import EPISODES_TOPIC

WORK: Final = "benchmarks.kafka_work"
EPISODE: Final = 1_000
SHORT_EPISODE: Final = 50
GOAL: Final = 100_000
BETTER: Final = 200_000
FLAT_MIB: Final = 32


def told(name: str, value: float, unit: str, peer: str = "") -> Result:
    """A figure that no goal is set for."""
    return Result(name, value, unit, peer, None, "", holds=True)


def throughput(made: Deployment, spool: Path, scale: Scale) -> Iterator[Result]:
    """Recorder, gateway, Kafka, one worker, visible: as fast as the environment goes; who used what on the way."""
    url = made.serve()
    made.work(1)
    steps = scale.recorded
    _records(made)  # the readers connect when they are first asked
    with (
        Watch(lambda: _records(made), 0.1) as appended,
        Meter(made.pids) as meter,
    ):
        done = fresh("record", "throughput", str(steps), url=url, spool=spool, module=WORK)
    made.grown.settled()
    made.store().check(steps=steps, ended=-(-steps // EPISODE) + (steps % EPISODE == 0))
    shares = meter.shares.also("recorder", done["cpu_seconds"])
    rate = steps / done["seconds"]
    name = "recorder to visible"
    yield Result(
        f"{name}, one worker",
        rate,
        "steps/s",
        shares.in_cores(),
        rate / GOAL,
        f">= {GOAL:g} steps/s, better {BETTER:g}",
        rate >= GOAL,
    )
    last = appended.until(appended.answers[-1])
    yield told(f"{name}: made by the environment", steps / done["loop_seconds"], "steps/s")
    yield told(f"{name}: accepted, and appended to the log", steps / (last - done["began"]), "steps/s")
    yield told(f"{name}: steps of a record", steps / _records(made), "steps")
    yield from _by_process(name, shares, steps)


def _records(made: Deployment) -> int:
    """Records that the topic of episodes has."""
    return sum(reader.end(EPISODES_TOPIC) for reader in made.grown.readers)


def _by_process(name: str, shares: Shares, steps: int) -> Iterator[Result]:
    for process in shares.by_process:
        alone = 1e6 / shares.per_million(process, steps)
        peer = f"{shares.share(process):.0f} % of all; {alone:.3g} steps/s a core"
        yield told(f"{name}: {process}'s CPU", shares.per_million(process, steps), "s/M", peer)


def latency(made: Deployment, spool: Path, scale: Scale) -> Iterator[Result]:
    """1,000 steps a second in episodes of 50: from each one's end to when its header is shown as ended."""
    url = made.serve()
    made.work(1)
    store = made.store()
    arguments = ("latency", "1000", str(scale.paced_seconds), str(SHORT_EPISODE))
    count = "SELECT count() FROM {db}.episodes FINAL WHERE status = 'truncated'"
    with Watch(lambda: store.number(count), 0.02) as watch, Meter(made.pids) as meter:
        done = fresh("paced", *arguments, url=url, spool=spool, module=WORK)
    made.grown.settled()
    store.check(steps=done["steps"], ended=done["steps"] // SHORT_EPISODE)
    ends = store.ask("SELECT ended_at FROM {db}.episodes FINAL WHERE status = 'truncated' ORDER BY ended_at")
    took = delays(watch, watch.answers, ends.column(0).to_numpy() / 1e9) * 1e3
    name = "end of episode to visible at 1,000 steps/s"
    yield told(f"{name}, median", float(np.median(took)), "ms", meter.shares.in_cores())
    yield at_most(f"{name}, 99th percentile", float(np.percentile(took, 99)), "ms", 1_000)
    yield told(
        f"{name}, slowest of {len(took)}", float(took.max()), "ms", f"recorder late {done['late']:.2f} s"
    )


def slow_streams(made: Deployment, spool: Path, scale: Scale) -> Iterator[Result]:
    """Streams of 10 steps a second, from four processes: from each step to when its episode's prefix covers it."""
    url = made.serve()
    made.work(1)
    create_benchmark(url)
    store = made.store()
    arguments = [str(uuid.UUID(bytes=BENCHMARK)), str(scale.slow_streams), "10", str(scale.slow_seconds)]
    arguments.append(str(scale.settled_seconds))
    prefixes = "SELECT episode, prefix FROM {db}.episodes FINAL"

    def run(number: int) -> dict[str, Any]:
        return fresh("slow", *arguments, url=url, spool=spool / str(number), module=WORK)

    with (
        Watch(lambda: store.ask(prefixes), 0.25) as watch,
        Watch(lambda: _memory(made.pids), 0.5) as memory,
        Meter(made.pids) as meter,
        ThreadPoolExecutor(scale.slow_processes) as threads,
    ):
        done = list(threads.map(run, range(scale.slow_processes)))
        made.grown.settled()
    steps, streams = sum(one["steps"] for one in done), scale.slow_processes * scale.slow_streams
    store.check(steps=steps, ended=streams)
    took = _step_delays(store, watch)
    name = f"{streams} streams of 10 steps/s"
    late = max(one["late"] for one in done)
    peer = f"median {np.median(took):.2f} s, slowest {took.max():.2f} s; recorders late {late:.2f} s"
    yield told(f"{name}: sent", steps / scale.slow_seconds, "steps/s", meter.shares.in_cores())
    yield told(f"{name}: steps of a record", steps / _records(made), "steps")
    yield at_most(f"{name}: step to visible, 99th percentile", float(np.percentile(took, 99)), "s", 3, peer)
    worst = max(done, key=lambda one: float(one["growth"]))
    peer = f"of {worst['rss']:.0f} MiB; without mapped files {worst['growth_of_its_own']:.1f}"
    yield at_most(f"{name}: growth of a recorder's memory", worst["growth"], "MiB", FLAT_MIB, peer)
    begun, ended = max(one["began"] for one in done), min(one["ended"] for one in done)
    before = _at(memory, begun + scale.settled_seconds)
    after = _at(memory, ended)
    for process in ("gateway", "worker", "store"):
        growth, peer = after[process] - before[process], f"of {after[process]:.0f} MiB"
        if process == "store":  # it merges, and keeps what it has read: nothing of ours
            yield told(f"{name}: growth of the {process}'s memory", growth, "MiB", peer)
        else:
            yield at_most(f"{name}: growth of the {process}'s memory", growth, "MiB", FLAT_MIB, peer)


def _step_delays(store: Store, watch: Watch) -> Any:
    """Of every step."""
    table = store.steps_table()
    rows = store.ask(f"SELECT episode, time FROM {table} FINAL WHERE NOT is_final ORDER BY episode, step")
    episodes, times = np.array(rows["episode"].to_pylist()), rows["time"].to_numpy() / 1e9
    seen = [dict(zip(*(column.to_pylist() for column in one.columns), strict=True)) for one in watch.answers]
    ids, starts = np.unique(episodes, return_index=True)
    parts = zip(ids.tolist(), np.split(times, starts[1:]), strict=True)
    return np.concatenate([delays(watch, [one.get(id_, 0) for one in seen], made) for id_, made in parts])


def _memory(pids: Mapping[str, int]) -> dict[str, float]:
    """Resident MiB by process."""
    return {name: psutil.Process(pid).memory_info().rss / MIB for name, pid in pids.items()}


def _at(watch: Watch, at: float) -> dict[str, float]:
    """The last answer before a time."""
    found: dict[str, float] = watch.answers[max(int(np.searchsorted(watch.times, at)) - 1, 0)]
    return found
