"""Figures of a process as Prometheus reads them: parsed by its own parser, and their names looked over."""

import re
from collections.abc import Iterable
from typing import Final

import httpx
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

UNITS: Final = {"seconds", "bytes", "records", "rows", "partitions", "streams", "generation", "info"}
OF_THE_LIBRARY: Final = "process_"
UNBOUNDED: Final = {
    "stream",
    "episode",
    "benchmark",
    "user",
    "owner",
    "subject",
    "request_id",
    "path",
    "client",
}
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


class Figures:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self.families: list[Metric] = list(text_string_to_metric_families(text))
        self._samples = [sample for family in self.families for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """The sum over all samples of a name with these labels; 0 for none."""
        return sum(self.each(name, **labels))

    def each(self, name: str, **labels: str) -> list[float]:
        """The values of all samples of a name with these labels."""
        return [
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def labels_of(self, name: str, label: str) -> set[str]:
        """All values that a label of a name has."""
        return {sample.labels[label] for sample in self._samples if sample.name == name}


def scrape(url: str) -> Figures:
    """The figures of a process that serves there."""
    answer = httpx.get(f"{url}/metrics", trust_env=False, timeout=10)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Figures(answer.text)


def faults_of_names(families: Iterable[Metric]) -> list[str]:
    """What `promtool check metrics` would say of names, help and labels, and what we do not want besides."""
    return [
        f"{family.name}: {fault}"
        for family in families
        if not family.name.startswith(OF_THE_LIBRARY)
        for fault in _faults(family)
    ]


def _faults(family: Metric) -> Iterable[str]:
    name: str = family.name
    if not _NAME.fullmatch(name) or not name.startswith("tupli_"):
        yield "is not one of our names"
    if not family.documentation.strip().endswith("."):
        yield "has no help"
    if family.type == "counter" and name.endswith("_total"):
        yield "ends twice in _total"  # the parser takes one off
    if family.type == "gauge" and name.endswith(("_total", "_count", "_sum", "_bucket")):
        yield "is a gauge and is called like a counter"
    if family.type == "histogram" and name.rsplit("_", 1)[-1] not in UNITS:
        yield "has no unit"
    if any(word in name.split("_") for word in ("milliseconds", "ms", "kilobytes", "mb", family.type)):
        yield "is not in base units, or names its type"
    labels: set[str] = {label for sample in family.samples for label in sample.labels}
    if labels & UNBOUNDED:
        yield f"has labels without a bound: {sorted(labels & UNBOUNDED)}"
    if any(label != label.lower() for label in labels):
        yield "has labels that are not in lower case"
