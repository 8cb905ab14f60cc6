"""`make bench-kafka`: measure the grown system, print the table, write `benchmarks/results_kafka.json`.

`python -m benchmarks.kafka_bench` with `tests` on the path; `--only NAME` for one part, `--small` to see that it
runs, `--profile` for where a worker's time goes (that costs a few percent).
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import kafka_live, kafka_stored
from benchmarks.kafka_deployment import Deployment, deployment
from benchmarks.kafka_scale import SMALL, WHOLE, Scale
from benchmarks.results import Result, show
from support.kafka_broker import own_broker

PARTS: Final[dict[str, Callable[[Deployment, Path, Scale], Iterator[Result]]]] = {
    "throughput": kafka_live.throughput,
    "drain": kafka_stored.drain,
    "latency": kafka_live.latency,
    "slow": kafka_live.slow_streams,
    "rebuild": kafka_stored.rebuild,
    "frames": kafka_stored.frames,
}
PARTITIONS: Final = 8
RESULTS: Final = Path(__file__).with_name("results_kafka.json")
TITLE: Final = (
    "benchmarks over Kafka: real broker, gateway and workers, {cores} cores for all;"
    " the store is the real engine behind the test support's HTTP server, not a ClickHouse server"
)


def main(wanted: set[str], scale: Scale, *, profile: bool = False) -> int:
    """Run the wanted parts, each with topics and tables of its own; 1 when a goal is missed."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else what was started would stay
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="tupli-bench-") as name:
        folder = Path(name)
        (folder / "broker").mkdir()
        with own_broker(folder / "broker") as broker:
            for part, measure in PARTS.items():
                if part in wanted:
                    sys.stderr.write(f"measuring {part}\n")
                    own = folder / part
                    with deployment(broker, own, partitions=PARTITIONS, profile=profile) as made:
                        results += measure(made, own / "more", scale)
    show(results, path=RESULTS, title=TITLE.format(cores=os.cpu_count()))
    return 0 if all(result.holds for result in results) else 1


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.kafka_bench", description="Measure Tupli over Kafka."
    )
    parser.add_argument("--only", action="append", choices=sorted(PARTS), help="this part (may be repeated)")
    parser.add_argument("--small", action="store_true", help="little of everything: to see that it runs")
    parser.add_argument("--profile", action="store_true", help="say where a worker's time goes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = parse(sys.argv[1:])
    sys.exit(main(set(options.only or PARTS), SMALL if options.small else WHOLE, profile=options.profile))
