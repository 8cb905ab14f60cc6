"""A meter and a tracer that keep what they were told, for tests."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tupli_ingest.core.meters import BlockFigures
from tupli_ingest.core.tracing import Attributes


@dataclass
class KeptMeter:
    """`Meter` over counters."""

    events: int = 0
    steps: int = 0
    bytes: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    appends: list[tuple[str, float]] = field(default_factory=list)
    writes: list[tuple[str, float]] = field(default_factory=list)
    blocks: list[BlockFigures] = field(default_factory=list)
    retries: Counter[tuple[str, str]] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)

    def accepted(self, events: int, steps: int, size: int) -> None:
        self.events += events
        self.steps += steps
        self.bytes += size

    def refused(self, code: str) -> None:
        self.codes[code] += 1

    def appended(self, topic: str, seconds: float) -> None:
        self.appends.append((topic, seconds))

    def wrote(self, table: str, seconds: float) -> None:
        self.writes.append((table, seconds))

    def wrote_block(self, block: BlockFigures) -> None:
        self.blocks.append(block)

    def retried(self, part: str, work: str) -> None:
        self.retries[part, work] += 1

    def kept_dead_letters(self, code: str, letters: int) -> None:
        self.letters[code] += letters


@dataclass
class KeptSpan:
    """A span as it was told."""

    name: str
    parent: str | None
    links: list[str]
    within: str
    """The name of the span that it was opened in."""
    attributes: dict[str, str | int | float] = field(default_factory=dict)

    def set(self, attributes: Attributes) -> None:
        self.attributes |= attributes

    def rename(self, name: str) -> None:
        self.name = name


class KeptTracer:
    """`Tracer` over a list; for one thread."""

    def __init__(self) -> None:
        self.spans: list[KeptSpan] = []
        self._open: list[KeptSpan] = []

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        parent: str | None = None,
        links: Sequence[str] = (),
    ) -> Iterator[KeptSpan]:
        span = KeptSpan(name, parent, list(links), self._open[-1].name if self._open else "")
        span.set(attributes or {})
        self.spans.append(span)
        self._open.append(span)
        try:
            yield span
        finally:
            self._open.pop()

    def traceparent(self) -> str:
        return ""
