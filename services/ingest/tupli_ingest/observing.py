"""What a process counts and traces, as its settings ask: put together once, handed to all of its parts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter

from tupli_ingest.core.errors import NotInstalled
from tupli_ingest.core.meters import NO_METER, Meter, Reading
from tupli_ingest.core.plan import Plan
from tupli_ingest.core.tracing import NO_TRACER, Tracer
from tupli_ingest.http.metrics import metrics_router
from tupli_ingest.settings import IngestSettings

if TYPE_CHECKING:
    from tupli_ingest.adapters.prometheus_metrics import PrometheusMetrics

Number = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Observed:
    """A process's meter and tracer; without `metrics` there are no figures, and no route that shows them."""

    meter: Meter = NO_METER
    tracer: Tracer = NO_TRACER
    metrics: "PrometheusMetrics | None" = None
    close: Callable[[], None] = lambda: None
    """Send the last spans; takes two seconds at most."""

    @property
    def is_tracing(self) -> bool:
        """Whether spans are wanted: places in traces need not be carried along otherwise."""
        return self.tracer is not NO_TRACER

    def router(self) -> APIRouter:
        """The route of the figures, or none."""
        return APIRouter() if self.metrics is None else metrics_router(self.metrics.render)

    def watch(self, name: str, read: Callable[[], Reading]) -> None:
        """Show a gauge with labels, see `PrometheusMetrics.watch`."""
        if self.metrics is not None:
            self.metrics.watch(name, read)

    def watch_number(self, name: str, read: Number) -> None:
        """Show a gauge without labels."""
        self.watch(name, lambda: [((), read())])

    def watch_plan(self, plan: Callable[[], Plan]) -> None:
        """Show which generations serve and are filled, and whether the last rebuild was given up."""
        self.watch_number("tupli_serving_generation", lambda: plan().serving)
        self.watch_number("tupli_filling_generation", lambda: plan().filling)
        self.watch_number("tupli_rebuild_given_up", lambda: bool(plan().note))


NOT_OBSERVED = Observed()
"""Nothing is counted, nothing is traced."""


def observe(settings: IngestSettings, service: str) -> Observed:
    """What the settings ask for. What they do not ask for is not imported.

    Raises:
        NotInstalled: Tracing is switched on, and what it needs is not installed.
    """
    meter, tracer, metrics, close = NO_METER, NO_TRACER, None, NOT_OBSERVED.close
    if settings.traces:
        try:
            from tupli_ingest.adapters.otel_tracer import OtelTracer  # noqa: PLC0415 -- an extra
        except ImportError as error:
            raise NotInstalled(
                "TUPLI_INGEST_TRACES is switched on, and OpenTelemetry is not installed:"
                f" pip install 'tupli[otel]', or switch it off ({error})"
            ) from error
        made = OtelTracer(service)
        tracer, close = made, made.close
    if settings.metrics:
        from tupli_ingest.adapters.prometheus_metrics import PrometheusMetrics  # noqa: PLC0415 -- can be off

        meter = metrics = PrometheusMetrics(service)
    return Observed(meter, tracer, metrics, close)
