"""Spans for OpenTelemetry, sent over OTLP/HTTP. Only where tracing is switched on is this imported.

Everything that the specification lets an operator choose is read from the standard `OTEL_*` variables, such as
`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER` and `OTEL_BSP_SCHEDULE_DELAY`. Nothing
process-wide is set: two of these in one process know nothing of each other.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_SERVICE_NAME
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tupli_ingest.core.errors import Stopped
from tupli_ingest.core.tracing import MAX_LINKS, TRACEPARENT, Attributes, Span
from tupli_ingest.logs import trace_id

CLOSE_SECONDS: Final = 2.0
"""So long the last spans may take: a collector that is away must not hold up the end of a process."""
_W3C: Final = TraceContextTextMapPropagator()


class OtelTracer:
    """`Tracer` whose spans leave in batches, from a thread of the SDK. `exporter` is OTLP over HTTP when left out."""

    def __init__(self, service: str, exporter: SpanExporter | None = None) -> None:
        named = {} if os.environ.get(OTEL_SERVICE_NAME) else {SERVICE_NAME: service}
        resource = Resource.create({SERVICE_VERSION: version("tupli"), **named})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("tupli_ingest")

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        parent: str | None = None,
        links: Sequence[str] = (),
    ) -> Iterator[Span]:
        """See `Tracer.span`."""
        with self._tracer.start_as_current_span(
            name,
            context=None if parent is None else _context_of(parent),
            kind=trace.SpanKind.INTERNAL if parent is None else trace.SpanKind.SERVER,
            attributes=attributes,
            links=_links(links),
            record_exception=False,  # its text may be a caller's
            set_status_on_exception=False,
        ) as span:
            token = trace_id.set(trace.format_trace_id(span.get_span_context().trace_id))
            try:
                yield _OtelSpan(span)
            except Exception as error:
                if not isinstance(error, Stopped):
                    span.set_status(trace.Status(trace.StatusCode.ERROR, type(error).__name__))
                raise
            finally:
                trace_id.reset(token)

    def traceparent(self) -> str:
        """See `Tracer.traceparent`."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get(TRACEPARENT, "")

    def close(self) -> None:
        """Send what is left, for at most `CLOSE_SECONDS`."""
        closing = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


class _OtelSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self._span.update_name(name)


def _context_of(traceparent: str) -> Context:
    """The context of a place in a trace; an empty one, in which a trace begins, for what names none."""
    return _W3C.extract({TRACEPARENT: traceparent}, Context())


def _links(traceparents: Sequence[str]) -> list[trace.Link]:
    spans = (trace.get_current_span(_context_of(one)) for one in traceparents[:MAX_LINKS])
    found = (span.get_span_context() for span in spans)
    return [trace.Link(context) for context in found if context.is_valid]
