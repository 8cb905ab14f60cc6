"""What is counted and traced follows the settings; what is switched off is not even imported."""

import sys

import pytest

from tupli_ingest.adapters.prometheus_metrics import PrometheusMetrics
from tupli_ingest.core.errors import NotInstalled
from tupli_ingest.core.meters import NO_METER
from tupli_ingest.core.plan import Plan
from tupli_ingest.core.tracing import NO_TRACER
from tupli_ingest.observing import NOT_OBSERVED, observe
from tupli_ingest.settings import IngestSettings


def test_figures_are_on_and_traces_are_off_by_default() -> None:
    observed = observe(IngestSettings(), "tupli-test")
    assert isinstance(observed.meter, PrometheusMetrics)
    assert observed.meter is observed.metrics
    assert observed.tracer is NO_TRACER
    assert not observed.is_tracing
    assert [route.path for route in observed.router().routes] == ["/metrics"]  # type: ignore[attr-defined]  # of FastAPI


def test_two_processes_of_one_interpreter_count_apart() -> None:
    one, other = observe(IngestSettings(), "a"), observe(IngestSettings(), "b")
    assert one.meter is not other.meter


def test_where_figures_are_off_nothing_counts_and_no_route_shows_it() -> None:
    observed = observe(IngestSettings(metrics=False), "tupli-test")
    assert (observed.meter, observed.metrics) == (NO_METER, None)
    assert observed.router().routes == []
    observed.watch_plan(lambda: Plan(1))
    NOT_OBSERVED.close()


def test_traces_without_what_they_need_end_the_start_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "tupli_ingest.adapters.otel_tracer", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(NotInstalled, match=r"pip install 'tupli\[otel\]'"):
        observe(IngestSettings(traces=True), "tupli-test")


def test_the_plan_shows_what_serves_what_is_filled_and_what_was_given_up() -> None:
    observed = observe(IngestSettings(), "tupli-test")
    observed.watch_plan(lambda: Plan(3, 4, note="because"))
    assert observed.metrics is not None
    text = observed.metrics.render("")[0].decode()
    assert "\ntupli_serving_generation 3.0\n" in text
    assert "\ntupli_filling_generation 4.0\n" in text
    assert "\ntupli_rebuild_given_up 1.0\n" in text
