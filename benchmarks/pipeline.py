"""Environment to visible, end of episode to visible, bytes a step, and what memory does meanwhile."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tupli
from benchmarks.harness import MIB, PeakRss, Server, folder_bytes, fresh
from benchmarks.results import Result, at_least, at_most, times_better, times_cheaper
from benchmarks.synthetic import ACTION, Synthetic
from tupli.transport.http import HttpTransport
from tupli_schemas.ids import parse_id

STEPS = 1_000_000
BIG = 5_000_000
PULLS = 3
"""Fresh processes that pull, of ours and of each peer."""


def throughput(server: Server, spool: Path) -> Iterator[Result]:
    """Steps a second from the environment to visible, through HTTP to another process."""
    with PeakRss(server.pid) as memory:
        done = fresh("record", "throughput", str(STEPS), url=server.url, spool=spool)
    yield at_least("environment to visible, 17+6 float32", STEPS / done["seconds"], "steps/s", 150_000)
    yield at_most("recorder's memory growth, 1 M steps", done["rss_growth"] / MIB, "MiB", 200)
    yield at_most("server's memory growth, 1 M steps", memory.growth / MIB, "MiB", 200)
    for keys in (5, 50):
        steps = STEPS // 4 // (1 if keys == 5 else 5)
        done = fresh("record", f"infos-{keys}", str(steps), str(keys), url=server.url, spool=spool)
        yield Result(
            f"environment to visible, {keys}-key infos",
            steps / done["seconds"],
            "steps/s",
            "",
            None,
            "",
            holds=True,
        )


def frames(server: Server, spool: Path) -> Iterator[Result]:
    """210x160x3 at 300 frames a second for 10 seconds: the backlog at the end stays small."""
    done = fresh("record_frames", "frames", "3000", "300", url=server.url, spool=spool)
    yield at_least("210x160x3 sustained to visible", 3000 / done["seconds"], "frames/s", 0.95 * 300)


def one_long_episode(server: Server, spool: Path) -> Iterator[Result]:
    """One episode of a million steps: neither side may hold it."""
    with PeakRss(server.pid) as memory:
        done = fresh("record", "long-episode", str(STEPS), "0", str(STEPS), url=server.url, spool=spool)
    yield at_most("recorder's memory growth, one 1 M-step episode", done["rss_growth"] / MIB, "MiB", 200)
    yield at_most("server's memory growth, one 1 M-step episode", memory.growth / MIB, "MiB", 200)


def best(rates: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each kind the highest."""
    return {kind: max(rate[kind] for rate in rates) for kind in rates[0]}


def _pull(server: Server) -> dict[str, float]:
    """Tuples a second, in a fresh process and again in it."""
    done = fresh("pull", "throughput", "4", url=server.url)
    return {"fresh": done["rows"] / done["seconds"][0], "warm": done["rows"] / min(done["seconds"][1:])}


def pulls(server: Server, peers: dict[str, Any]) -> Iterator[Result]:
    """Pull to NumPy over loopback HTTP, warm and in a fresh process: as the peers, the best of some processes."""
    with PeakRss(server.pid) as memory:
        ours = best([_pull(server) for _ in range(PULLS)])
    yield at_least("pull to NumPy, warm", ours["warm"], "steps/s", 2_500_000)
    yield at_least("pull to NumPy, fresh process", ours["fresh"], "steps/s", 1_000_000)
    for key, peer, factor in (("pytupli", "PyTupli", 20), ("minari_arrow", "Minari Arrow", 4)):
        for kind in ("fresh", "warm"):
            yield times_better(
                f"pull against {peer}, {kind}", ours[kind], peers[key][kind], "steps/s", factor, peer
            )
    yield at_most("server's memory growth while streaming", memory.growth / MIB, "MiB", 100)


def big_dataset(server: Server, spool: Path) -> Iterator[Result]:
    """5 M steps: written, then walked over in batches."""
    fresh("record", "big", str(BIG), url=server.url, spool=spool)
    with PeakRss(server.pid) as memory:
        done = fresh("batches", "big", url=server.url)
    yield at_least("batches over 5 M steps", done["rows"] / done["seconds"], "steps/s", 1_000_000)
    yield at_most("client's memory growth, batches over 5 M steps", done["rss_growth"] / MIB, "MiB", 200)
    yield at_most("server's memory growth, batches over 5 M steps", memory.growth / MIB, "MiB", 100)


def latency(server: Server, spool: Path) -> Iterator[Result]:
    """End of an episode to visible at 1,000 steps a second; a lone slow stream, each step."""
    os.environ |= {"TUPLI_URL": server.url, "TUPLI_SPOOL_DIR": str(spool)}
    delays = _episode_delays()
    yield at_most(
        "end of episode to visible, 99th percentile", float(np.percentile(delays, 99)) * 1e3, "ms", 300
    )
    yield at_most("lone slow stream, step to visible, slowest", max(_step_delays()) * 1e3, "ms", 1_000)


def _episode_delays(seconds: float = 20.0, length: int = 50) -> list[float]:
    """From the end of an episode to when the store has it. A `preview` costs the server more than the episode does:
    the stream is asked for instead, and a preview then has to show what it says.
    """
    delays = []
    data, transport = _of_name("latency"), HttpTransport()
    with tupli.record(Synthetic(episode=length), "latency") as env:
        env.reset()
        start, number, ended, stream = time.perf_counter(), 0, 0, b""
        while (now := time.perf_counter()) - start < seconds:
            number += 1
            _, _, _, truncated, _ = env.step(ACTION)
            if truncated:
                at, ended = time.perf_counter(), ended + 1
                env.reset()
                while not stream:  # the first episode makes benchmark, stream and step table
                    headers = list(data.preview())
                    stream = parse_id(headers[0].stream) if headers else b""
                while _ended(transport, stream) < ended:
                    time.sleep(0.01)
                delays.append(time.perf_counter() - at)
                if data.preview().n_episodes < ended:
                    raise RuntimeError("an episode that the stream has is in no preview")
                start += time.perf_counter() - at
            time.sleep(max(0.0, now + 0.001 - time.perf_counter()))
    return delays[1:]


def _ended(transport: HttpTransport, stream: bytes) -> int:
    state = transport.stream_state(stream)
    return sum(episode["status"] == "truncated" for episode in state["episodes"])


def _of_name(benchmark: str) -> tupli.TupliDataset:
    """Its episodes; none as long as the recorder has not made the benchmark, where `tupli.dataset` would refuse."""
    return tupli.TupliDataset().with_benchmark_filter(tupli.F("name") == benchmark)


def _step_delays(steps: int = 20) -> list[float]:
    delays = []
    data = _of_name("slow").including("open")
    with tupli.record(Synthetic(episode=10_000), "slow") as env:
        env.reset()
        for number in range(1, steps + 1):
            at = time.perf_counter()
            env.step(ACTION)
            while sum(header.n_tuples for header in data.preview()) < number:
                time.sleep(0.005)
            delays.append(time.perf_counter() - at)
            time.sleep(0.3)
    return delays


def storage(folder: Path, recorded: int, peers: dict[str, Any]) -> Iterator[Result]:
    """Bytes a step, in the store and in the log, against Minari's HDF5."""
    theirs = peers["minari_hdf5"]["bytes_per_step"]
    for part, pattern in (("store", "store"), ("log", "log")):
        size = sum(
            folder_bytes(path) if path.is_dir() else path.stat().st_size
            for path in folder.glob(f"{pattern}*")
        )
        yield times_cheaper(f"bytes a step in the {part}", size / recorded, theirs, "B", 0.8, "Minari HDF5")


def alone(folder: Path) -> Path:
    """A new folder below `folder`."""
    return Path(tempfile.mkdtemp(dir=folder))
