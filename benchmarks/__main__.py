"""`make bench`: measure, print the table, write `benchmarks/results.json`. `python -m benchmarks NAME...` runs parts."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import env_thread, filters, pipeline
from benchmarks.harness import HERE, fresh, server
from benchmarks.results import Result, show

PEER_STEPS = 50_000
PARTS = ("peers", "thread", "throughput", "frames", "long", "pull", "latency", "big", "filter", "storage")


def main(wanted: set[str]) -> int:
    """Run the wanted parts; 1 when a goal is missed."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="tupli-bench-") as name:
        folder, spool = Path(name), Path(name) / "spool"
        peers = _peers(folder)
        if "thread" in wanted:
            results += env_thread.measure(folder, peers)
        with server(folder) as running:
            parts: dict[str, Callable[[], Iterator[Result]]] = {
                "throughput": lambda: pipeline.throughput(running, spool),
                "pull": lambda: pipeline.pulls(running, peers),
                "frames": lambda: pipeline.frames(running, spool),
                "long": lambda: pipeline.one_long_episode(running, spool),
                "latency": lambda: pipeline.latency(running, spool),
                "big": lambda: pipeline.big_dataset(running, spool),
            }
            for part, measure in parts.items():
                if part in wanted:
                    sys.stderr.write(f"measuring {part}\n")
                    results += measure()
        if {"big", "filter"} <= wanted:
            results += filters.measure(folder, spool)
        if "storage" in wanted:
            results += _storage(folder, peers)
    show(results)
    return 0 if all(result.holds for result in results) else 1


def _peers(folder: Path) -> dict[str, Any]:
    python = HERE.parent / ".cache" / "peers" / "bin" / "python"
    command = [str(python), str(HERE / "peers.py"), str(folder), str(PEER_STEPS)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, timeout=900
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _storage(folder: Path, peers: dict[str, Any]) -> list[Result]:
    """A server of its own that holds nothing but these steps."""
    own = pipeline.alone(folder)
    with server(own) as running:
        fresh("record", "storage", str(pipeline.STEPS), url=running.url, spool=own / "spool")
    return list(pipeline.storage(own / "server", pipeline.STEPS, peers))


if __name__ == "__main__":
    sys.exit(main(set(sys.argv[1:]) or set(PARTS)))
