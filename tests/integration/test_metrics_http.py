"""`GET /metrics` of a service on a real log and a real store: what it counts is what was sent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ingest_service import EVENTS, SETTINGS, Service, eventually
from support.ingest_streams import OTHER_SUBJECT, StreamOfItems, new_record
from support.metrics import Figures, faults_of_names, scrape
from tupli_schemas.events import EPISODES_TOPIC, encode_event
from tupli_schemas.ids import make_id


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    service.create()
    yield service
    service.stop()


def figures(service: Service) -> Figures:
    return scrape(str(service.http.base_url).rstrip("/"))


def stream(number: int, *, end: bool = True) -> StreamOfItems:
    """Two episodes of 40 and 25 steps."""
    made = StreamOfItems(make_id(1_700_000_000_000 + number, number))
    return made.episode(1, 40).episode(2, 25, end=end)


def test_what_is_accepted_and_processed_is_what_was_sent(service: Service) -> None:
    requests = [stream(number, end=number > 1).events(cut=10) for number in (1, 2, 3)]
    for events in requests:
        assert service.send(events).status_code == 200
    service.settled()
    found = figures(service)
    events = [event for request in requests for event in request]
    assert found.sum("tupli_accepted_events_total") == len(events)
    assert found.sum("tupli_accepted_steps_total") == 3 * 65
    assert found.sum("tupli_accepted_bytes_total") == sum(len(encode_event(event)) for event in events)
    assert found.sum("tupli_log_append_duration_seconds_count", topic=EPISODES_TOPIC) == 3
    assert found.sum("tupli_log_append_duration_seconds_count", topic="tupli.catalog.v1") == 1
    assert found.sum("tupli_processed_records_total") == len(events)
    blocks = found.sum("tupli_written_blocks_total")
    assert 1 <= blocks <= 3
    rows = 3 * 65 + 5  # five of six episodes have ended: their final observations are rows
    assert found.sum("tupli_block_rows_sum") == rows == service.count()
    assert found.sum("tupli_block_write_duration_seconds_count") == blocks
    for table in ("steps", "episodes", "streams"):
        assert found.sum("tupli_store_write_duration_seconds_count", table=table) == blocks
    assert found.sum("tupli_store_write_duration_seconds_count", table="benchmarks") == 0
    assert found.each("tupli_open_streams") == [1]
    assert found.sum("tupli_lag_records") == 0
    assert found.each("tupli_serving_generation") == [1]
    for name in ("tupli_filling_generation", "tupli_rebuild_remaining_records", "tupli_rebuild_given_up"):
        assert found.each(name) == [0], name
    for name in ("tupli_log_in_flight_bytes", "tupli_request_in_flight_bytes"):
        assert found.each(name) == [0], name
    assert faults_of_names(found.families) == []


def test_what_is_refused_is_counted_by_its_code_and_not_accepted(service: Service) -> None:
    good = stream(1).events(cut=10)
    assert service.send(good[1:2] + good[:1]).status_code == 422
    assert service.http.post("/ingest/v1/events", content=b"nonsense", headers=EVENTS).status_code == 400
    assert service.http.post("/ingest/v1/events", content=b"x" * 200_001, headers=EVENTS).status_code == 413
    assert service.http.get("/ingest/v1/streams/nonsense").status_code == 400
    found = figures(service)
    for code in ("invalid_event", "invalid_frame", "too_large", "invalid_request"):
        assert found.sum("tupli_refused_requests_total", code=code) == 1, code
    assert found.sum("tupli_refused_requests_total") == 4
    assert found.sum("tupli_accepted_events_total") == 0
    assert found.each("tupli_request_in_flight_bytes") == [0]


def test_dead_letters_are_counted_by_their_code(service: Service) -> None:
    events = stream(1).events(cut=10)
    service.send(events)
    foreign = new_record(events[1], subject=OTHER_SUBJECT)
    service.parts.log.append_now(EPISODES_TOPIC, [foreign, foreign])
    service.settled()
    found = figures(service)
    assert found.sum("tupli_dead_letters_total", code="foreign_owner") == 2
    assert found.sum("tupli_dead_letters_total") == 2


def test_a_rebuild_is_shown_by_the_generation_that_serves_after_it(service: Service) -> None:
    service.send(stream(1, end=False).events(cut=10))
    service.settled()
    assert service.http.post("/ingest/v1/rebuild").status_code == 202
    eventually(lambda: service.http.get("/ingest/v1/rebuild").json()["state"] == "done")
    found = figures(service)
    assert found.each("tupli_serving_generation") == [2]
    assert found.each("tupli_filling_generation") == [0]
    assert found.each("tupli_open_streams", generation="2") == [1]
    assert found.labels_of("tupli_lag_records", "generation") == {"2"}


def test_where_figures_are_off_nobody_shows_any(tmp_path: Path) -> None:
    service = Service(tmp_path, SETTINGS.model_copy(update={"metrics": False}))
    try:
        service.create()
        assert service.send(stream(1).events(cut=10)).status_code == 200
        assert service.http.get("/metrics").status_code == 404
    finally:
        service.stop()
