"""Figures for Prometheus: `Meter` over a registry of its own, and gauges that are read when somebody asks.

Names follow https://prometheus.io/docs/practices/naming/: base units, and `_total` for what only grows. Labels are
words of the program; a stream, a benchmark or a user is never one. `docs/observability.md` explains each.
"""

import platform
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from tupli_ingest.core.meters import BlockFigures, Reading
from tupli_schemas.problems import CODES

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ROWS: Final = (1, 10, 100, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 200_000, 500_000)
_BYTES: Final = tuple(4**power for power in range(5, 14))
"""1 KiB to 64 MiB."""

GAUGES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "tupli_request_in_flight_bytes": ("Bytes of request bodies that are being read or appended.", ()),
    "tupli_log_in_flight_bytes": ("Bytes on their way to the log that are not acknowledged.", ()),
    "tupli_lag_records": (
        "Records of the log that are not processed, in the partitions of this process.",
        ("topic", "partition", "generation"),
    ),
    "tupli_assigned_partitions": (
        "Partitions of the log that this process works on; absent before its group has answered.",
        ("generation",),
    ),
    "tupli_open_streams": (
        "Recording streams with an episode that has not ended, and news within an hour.",
        ("generation",),
    ),
    "tupli_waiting_bytes": ("Bytes of records that were delivered and are not written.", ("generation",)),
    "tupli_serving_generation": ("The generation of the store that queries read.", ()),
    "tupli_filling_generation": ("The generation that a rebuild fills; 0 for none.", ()),
    "tupli_rebuild_remaining_records": (
        "Records that the generation which a rebuild fills lacks in this process's partitions; absent before it is known.",
        (),
    ),
    "tupli_rebuild_given_up": ("1 while the last rebuild is one that was given up.", ()),
}
"""The gauges, with their help and the names of their labels."""


class PrometheusMetrics:
    """`Meter`, and the text of all figures. Two of them in one process know nothing of each other."""

    def __init__(self, service: str) -> None:
        registry = self._registry = CollectorRegistry()
        self._accepted_events = _counter(registry, "accepted_events", "Events that were accepted.")
        self._accepted_steps = _counter(registry, "accepted_steps", "Transitions that were accepted.")
        self._accepted_bytes = _counter(registry, "accepted_bytes", "Bytes of the events that were accepted.")
        self._refused = _counter(registry, "refused_requests", "Requests answered with a problem.", "code")
        for code in CODES:
            self._refused.labels(code)  # at 0 from the start: the first refusal is an increase
        append = "From asking the log to keep a request's records until they are durable."
        self._appended = _seconds(registry, "log_append", append, "topic")
        self._records = _counter(registry, "processed_records", "Records whose block is durable.")
        self._blocks = _counter(registry, "written_blocks", "Blocks that are durable.")
        self._block_rows = _sizes(registry, "tupli_block_rows", "Step rows of a block.", _ROWS)
        self._block_bytes = _sizes(registry, "tupli_block_bytes", "Bytes of the events of a block.", _BYTES)
        fold = "Folding a block's records, with what is read of their streams."
        self._fold = _seconds(registry, "block_fold", fold)
        write = "The attempt that made a block durable: rows, headers, streams."
        self._write = _seconds(registry, "block_write", write)
        wrote = "Writes of rows into a table that succeeded; `steps` are all step tables."
        self._wrote = _seconds(registry, "store_write", wrote, "table")
        retried = "Attempts that failed and were made again."
        self._retried = _counter(registry, "retries", retried, "part", "work")
        self._letters = _counter(registry, "dead_letters", "Dead letters that this process kept.", "code")
        self._gauges: dict[str, Callable[[], Reading]] = {}
        self._build = (service, version("tupli"), platform.python_version())
        registry.register(self)
        ProcessCollector(registry=registry)

    def accepted(self, events: int, steps: int, size: int) -> None:
        """See `Meter.accepted`."""
        self._accepted_events.inc(events)
        self._accepted_steps.inc(steps)
        self._accepted_bytes.inc(size)

    def refused(self, code: str) -> None:
        """See `Meter.refused`."""
        self._refused.labels(code).inc()

    def appended(self, topic: str, seconds: float) -> None:
        """See `Meter.appended`."""
        self._appended.labels(topic).observe(seconds)

    def wrote(self, table: str, seconds: float) -> None:
        """See `Meter.wrote`."""
        self._wrote.labels(table).observe(seconds)

    def wrote_block(self, block: BlockFigures) -> None:
        """See `Meter.wrote_block`."""
        self._blocks.inc()
        self._records.inc(block.records)
        self._block_rows.observe(block.rows)
        self._block_bytes.observe(block.bytes)
        self._fold.observe(block.fold_s)
        self._write.observe(block.write_s)

    def retried(self, part: str, work: str) -> None:
        """See `Meter.retried`."""
        self._retried.labels(part, work).inc()

    def kept_dead_letters(self, code: str, letters: int) -> None:
        """See `Meter.kept_dead_letters`."""
        self._letters.labels(code).inc(letters)

    def watch(self, name: str, read: Callable[[], Reading]) -> None:
        """Show a gauge of `GAUGES` from now on; `read` is asked at every scrape, and must not wait.

        Given again, the later one counts.

        Raises:
            KeyError: There is no such gauge.
        """
        if name not in GAUGES:
            raise KeyError(name)
        self._gauges[name] = read

    def render(self, accept: str) -> tuple[bytes, str]:
        """All figures in the format that an Accept header wants, and its media type."""
        encode, media_type = choose_encoder(accept)
        return encode(_WithoutCreated(self._registry)), media_type

    def collect(self) -> Iterable[Metric]:
        """The gauges, as the registry asks for them."""
        told = "Which program this is."
        build = GaugeMetricFamily("tupli_build_info", told, labels=("service", "version", "python"))
        build.add_metric(self._build, 1)
        yield build
        for name, read in self._gauges.items():
            told, labels = GAUGES[name]
            family = GaugeMetricFamily(name, told, labels=labels)
            for values, value in read():
                family.add_metric(values, value)
            yield family

    def describe(self) -> Iterable[Metric]:
        """The names that are taken."""
        return [GaugeMetricFamily(name, told) for name, (told, _) in GAUGES.items()]


class _WithoutCreated:
    """A registry's figures without the moments since when they count, which the text format tells as gauges."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            family.samples = [one for one in family.samples if one.name != f"{family.name}_created"]
            yield family


def _counter(registry: CollectorRegistry, name: str, told: str, *labels: str) -> Counter:
    return Counter(f"tupli_{name}_total", told, labels, registry=registry)


def _seconds(registry: CollectorRegistry, name: str, told: str, *labels: str) -> Histogram:
    return Histogram(f"tupli_{name}_duration_seconds", told, labels, registry=registry, buckets=_SECONDS)


def _sizes(registry: CollectorRegistry, name: str, told: str, buckets: tuple[int, ...]) -> Histogram:
    return Histogram(name, told, registry=registry, buckets=buckets)
