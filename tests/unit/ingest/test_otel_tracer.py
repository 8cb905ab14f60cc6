"""Spans in OpenTelemetry's terms, kept in memory; `tests/e2e/test_cluster_metrics.py` sends them."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tupli_ingest.adapters.otel_tracer import OtelTracer
from tupli_ingest.core.errors import Stopped, StoreUnavailable
from tupli_ingest.core.tracing import MAX_LINKS, NO_TRACER
from tupli_ingest.logs import trace_id

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class World:
    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer = OtelTracer("tupli-test", self._exporter)

    def spans(self) -> dict[str, ReadableSpan]:
        self.tracer.close()
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.tracer.close()


def test_a_request_goes_on_with_the_trace_of_its_caller_and_its_log_lines_name_it(world: World) -> None:
    with world.tracer.span("request", parent=PARENT) as span:
        assert trace_id.get() == TRACE
        with world.tracer.span("append", {"n": 1}):
            place = world.tracer.traceparent()
        span.set({"http.route": "/x"})
        span.rename("GET /x")
    assert trace_id.get() == ""
    spans = world.spans()
    request, append = spans["GET /x"], spans["append"]
    assert request.kind is trace.SpanKind.SERVER
    assert request.attributes == {"http.route": "/x"}
    assert request.parent is not None
    assert append.parent is not None
    assert trace.format_span_id(request.parent.span_id) == "b7ad6b7169203331"
    assert append.parent.span_id == request.context.span_id
    assert place == f"00-{TRACE}-{trace.format_span_id(append.context.span_id)}-01"
    assert request.resource.attributes["service.name"] == "tupli-test"


@pytest.mark.parametrize("parent", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "ü" * 600])
def test_a_caller_without_a_trace_or_with_nonsense_begins_one(world: World, parent: str) -> None:
    with world.tracer.span("around"), world.tracer.span("request", parent=parent):
        pass
    assert world.spans()["request"].parent is None


def test_a_span_links_to_what_led_to_it_within_a_bound_and_skips_nonsense(world: World) -> None:
    places = [f"00-{number:032x}-b7ad6b7169203331-01" for number in range(1, 2 * MAX_LINKS)]
    with world.tracer.span("block", links=["nonsense", *places]):
        pass
    links = world.spans()["block"].links
    assert [link.context.trace_id for link in links] == list(range(1, MAX_LINKS))


def test_an_error_is_noted_by_its_kind_alone_and_a_stop_is_none(world: World) -> None:
    with pytest.raises(StoreUnavailable), world.tracer.span("failed"):
        raise StoreUnavailable("a text that may be a caller's")
    with pytest.raises(Stopped), world.tracer.span("stopped"):
        raise Stopped
    spans = world.spans()
    status = spans["failed"].status
    assert (status.status_code, status.description) == (trace.StatusCode.ERROR, "StoreUnavailable")
    assert spans["failed"].events == ()
    assert spans["stopped"].status.status_code is trace.StatusCode.UNSET


def test_an_operator_s_name_of_the_service_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    world = World()
    with world.tracer.span("any"):
        pass
    assert world.spans()["any"].resource.attributes["service.name"] == "mine"


def test_where_no_span_is_open_there_is_no_place(world: World) -> None:
    assert world.tracer.traceparent() == ""
    with NO_TRACER.span("any", parent=PARENT, links=[PARENT]) as span:
        span.set({"a": 1})
        span.rename("other")
        assert NO_TRACER.traceparent() == ""
