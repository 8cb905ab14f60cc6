"""Figures for Prometheus: each registry its own, names by the rules, labels from small sets."""

import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics import parser as openmetrics

from support.metrics import OF_THE_LIBRARY, Figures, faults_of_names
from tupli_ingest.adapters.prometheus_metrics import GAUGES, PrometheusMetrics
from tupli_ingest.core.meters import NO_METER, BlockFigures, Meter
from tupli_schemas.problems import CODES

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "observability.md"
BLOCK = BlockFigures(records=3, rows=700, bytes=50_000, fold_s=0.01, write_s=0.2)


def tell(meter: Meter) -> None:
    """Everything that can be told, once."""
    meter.accepted(2, 30, 4_000)
    meter.refused("too_large")
    meter.appended("tupli.episodes.v1", 0.004)
    meter.wrote("steps", 0.1)
    meter.wrote_block(BLOCK)
    meter.retried("writer", "writing a block")
    meter.kept_dead_letters("undecodable", 4)


def told() -> PrometheusMetrics:
    metrics = PrometheusMetrics("tupli-test")
    tell(metrics)
    for name, (_, labels) in GAUGES.items():
        metrics.watch(name, lambda labels=labels: [(tuple("1" for _ in labels), 5)])  # type: ignore[misc]  # the default is the type
    return metrics


def figures(metrics: PrometheusMetrics) -> Figures:
    return Figures(metrics.render("")[0].decode())


def test_what_is_told_is_shown() -> None:
    found = figures(told())
    assert found.sum("tupli_accepted_events_total") == 2
    assert found.sum("tupli_accepted_steps_total") == 30
    assert found.sum("tupli_accepted_bytes_total") == 4_000
    assert found.sum("tupli_refused_requests_total", code="too_large") == 1
    assert found.sum("tupli_log_append_duration_seconds_count", topic="tupli.episodes.v1") == 1
    assert found.sum("tupli_store_write_duration_seconds_sum", table="steps") == pytest.approx(0.1)
    assert found.sum("tupli_processed_records_total") == 3
    assert found.sum("tupli_written_blocks_total") == 1
    assert found.sum("tupli_block_rows_sum") == 700
    assert found.sum("tupli_block_bytes_sum") == 50_000
    assert found.sum("tupli_block_fold_duration_seconds_sum") == pytest.approx(0.01)
    assert found.sum("tupli_block_write_duration_seconds_sum") == pytest.approx(0.2)
    assert found.sum("tupli_retries_total", part="writer", work="writing a block") == 1
    assert found.sum("tupli_dead_letters_total", code="undecodable") == 4
    assert found.each("tupli_build_info", service="tupli-test") == [1]
    for name in GAUGES:
        assert found.each(name) == [5], name


def test_names_and_labels_follow_the_rules() -> None:
    families = figures(told()).families
    assert len(families) > 25
    assert faults_of_names(families) == []


def test_the_documentation_explains_each_and_nothing_else() -> None:
    shown = {
        family.name + "_total" * (family.type == "counter")
        for family in figures(told()).families
        if not family.name.startswith(OF_THE_LIBRARY)
    }
    assert set(re.findall(r"^\| `(tupli_\w+)` \|", DOCUMENTATION.read_text("utf-8"), re.MULTILINE)) == shown


def test_the_rules_are_no_empty_words() -> None:
    text = (
        "# HELP tupli_write_ms Milliseconds.\n# TYPE tupli_write_ms gauge\n"
        'tupli_write_ms{stream="a"} 1\n# HELP other_total Help.\n# TYPE other_total gauge\nother_total 1\n'
    )
    assert len(faults_of_names(Figures(text).families)) == 4


def test_two_registries_know_nothing_of_each_other_nor_of_the_library_s_own() -> None:
    before = {family.name for family in REGISTRY.collect()}
    one, other = told(), PrometheusMetrics("tupli-other")
    one.accepted(5, 5, 5)
    assert figures(one).sum("tupli_accepted_events_total") == 7
    assert figures(other).sum("tupli_accepted_events_total") == 0
    assert figures(other).each("tupli_open_streams") == []
    assert {family.name for family in REGISTRY.collect()} == before


def test_every_refusal_is_there_before_the_first_one() -> None:
    found = figures(PrometheusMetrics("tupli-test"))
    assert found.labels_of("tupli_refused_requests_total", "code") == set(CODES)
    assert found.sum("tupli_refused_requests_total") == 0


def test_a_gauge_that_nobody_knows_is_refused() -> None:
    with pytest.raises(KeyError, match="tupli_other"):
        PrometheusMetrics("tupli-test").watch("tupli_other", list)


def test_a_scraper_that_asks_for_openmetrics_gets_it() -> None:
    body, media_type = told().render("application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    families = openmetrics.text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call]  # it ships no types
    names = {family.name for family in families}
    assert {"tupli_accepted_steps", "tupli_lag_records"} <= names


def test_the_meter_that_forgets_takes_everything() -> None:
    tell(NO_METER)
