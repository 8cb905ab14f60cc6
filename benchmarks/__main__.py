"""`make bench`: measure, print the table, write `benchmarks/results.json`.

`python -m benchmarks NAME...` runs parts. The peers are measured in the same run where a part is held against them;
`--cached-peers` takes what the run before measured, to save its minute while one works on a part.
"""

import argparse
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
PARTS = ("thread", "throughput", "frames", "long", "pull", "latency", "big", "filter", "storage")
WITH_PEERS = {"thread", "pull", "storage"}
NEEDS = {"pull": "throughput", "filter": "big"}
"""Parts that read what another one records."""
PEERS_CACHE = HERE.parent / ".cache" / "peers.json"


def main(wanted: set[str], *, cached_peers: bool = False) -> int:
    """Run the wanted parts, and those that they need; 1 when a goal is missed."""
    wanted |= {NEEDS[part] for part in wanted if part in NEEDS}
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="tupli-bench-") as name:
        folder, spool = Path(name), Path(name) / "spool"
        peers = _peers(folder, cached=cached_peers) if wanted & WITH_PEERS else {}
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
        if "filter" in wanted:
            results += filters.measure(folder, spool)
        if "storage" in wanted:
            results += _storage(folder, peers)
    show(results)
    return 0 if all(result.holds for result in results) else 1


def _peers(folder: Path, *, cached: bool) -> dict[str, Any]:
    if cached and PEERS_CACHE.exists():
        sys.stderr.write("the peers' figures are those of an earlier run\n")
        kept: dict[str, Any] = json.loads(PEERS_CACHE.read_text())
        return kept
    sys.stderr.write("measuring peers\n")
    figures = _of_peers("record", folder, str(PEER_STEPS))
    for peer in ("minari_arrow", "pytupli"):
        figures[peer] |= pipeline.best([_of_peers("load", folder, peer) for _ in range(pipeline.PULLS)])
    PEERS_CACHE.write_text(json.dumps(figures))
    return figures


def _of_peers(work: str, folder: Path, argument: str) -> dict[str, Any]:
    """What one process of the peers' environment measures."""
    python = HERE.parent / ".cache" / "peers" / "bin" / "python"
    command = [str(python), str(HERE / "peers.py"), work, str(folder), argument]
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


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="Measure Tupli and its peers.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--cached-peers", action="store_true", help="do not measure the peers again")
    given = parser.parse_args(arguments)
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return given


if __name__ == "__main__":
    options = parse(sys.argv[1:])
    sys.exit(main(set(options.parts or PARTS), cached_peers=options.cached_peers))
