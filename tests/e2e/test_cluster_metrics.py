"""What processes of the grown system say of themselves: figures, readiness, traces; over a real broker."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.cluster import Cluster, Process, cluster
from support.ingest_sender import create_benchmark, post_events
from support.ingest_service import eventually
from support.ingest_streams import LAYOUT, OTHER_SUBJECT, StreamOfItems, new_record
from support.metrics import Figures, faults_of_names, scrape
from support.otlp_receiver import OtlpReceiver, otlp_receiver
from support.server_process import free_port
from tupli_ingest.adapters.kafka_reader import ThreadLog
from tupli_schemas.events import EPISODES_TOPIC, Event, encode_event
from tupli_schemas.ids import make_id
from tupli_schemas.records import RawRecord

PARTITIONS = 4
STEPS = 40 + 25
SILENCE_S = 2.0
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path, partitions=PARTITIONS, TUPLI_INGEST_READY_SILENCE_S=str(SILENCE_S)) as made:
        yield made


def stream_of(number: int, *, end: bool = True) -> list[Event]:
    """Two episodes of 40 and 25 steps."""
    stream = StreamOfItems(make_id(1_700_000_000_000 + number, number))
    return stream.episode(1, 40).episode(2, 25, end=end).events(cut=10)


def started_worker(grown: Cluster) -> tuple[Process, str]:
    port = free_port()
    return grown.process("worker", "--port", str(port)), f"http://127.0.0.1:{port}"


def why_not_ready(url: str) -> dict[str, str] | None:
    """The checks that fail; None while nothing listens yet."""
    try:
        answer = httpx.get(f"{url}/readyz", trust_env=False, timeout=5)
    except httpx.ConnectError:
        return None
    found: dict[str, str] = answer.json()["checks"]
    wrong = {name: reason for name, reason in found.items() if reason}
    assert answer.status_code == (503 if wrong else 200)
    return wrong


def settled(url: str, records: int) -> Figures:
    """The figures of a worker that has written and committed so many records."""
    eventually(lambda: why_not_ready(url) == {}, seconds=60)

    def is_done() -> bool:
        found = scrape(url)
        lag = found.sum("tupli_lag_records", topic=EPISODES_TOPIC)
        return found.sum("tupli_processed_records_total") == records and lag == 0

    eventually(is_done, seconds=60)
    return scrape(url)


@pytest.mark.timeout(300)
def test_the_figures_are_those_of_what_was_sent(grown: Cluster) -> None:
    url = grown.gateway()
    create_benchmark(url)
    _, worker = started_worker(grown)
    requests = [stream_of(number, end=number > 1) for number in range(1, 6)]
    for request in requests:
        assert post_events(url, request).status_code == 200
    assert post_events(url, requests[0][1:2] + requests[0][:1]).status_code == 422
    events = [event for request in requests for event in request]

    found = scrape(url)
    assert found.sum("tupli_accepted_steps_total") == 5 * STEPS
    assert found.sum("tupli_accepted_events_total") == len(events)
    assert found.sum("tupli_accepted_bytes_total") == sum(len(encode_event(event)) for event in events)
    assert found.sum("tupli_refused_requests_total") == 1
    assert found.sum("tupli_refused_requests_total", code="invalid_event") == 1
    assert found.sum("tupli_log_append_duration_seconds_count", topic=EPISODES_TOPIC) == len(requests)
    assert found.each("tupli_log_in_flight_bytes") == [0]
    assert faults_of_names(found.families) == []

    found = settled(worker, len(events))
    rows = 5 * STEPS + 9  # nine of ten episodes have ended: their final observations are rows
    assert found.sum("tupli_block_rows_sum") == rows == len(grown.shown()[LAYOUT.table])
    assert found.each("tupli_open_streams") == [1]
    assert found.sum("tupli_dead_letters_total") == 0
    assert found.each("tupli_waiting_bytes") == [0]
    assert found.sum("tupli_written_blocks_total") >= 1
    topics = found.labels_of("tupli_lag_records", "topic") - {"tupli.catalog.v1"}
    assert EPISODES_TOPIC in topics
    assert found.each("tupli_assigned_partitions") == [PARTITIONS * len(topics)]
    assert faults_of_names(found.families) == []

    log = ThreadLog(grown.kafka)
    good = new_record(requests[0][1])
    poison = [RawRecord(good.key, good.envelope, value) for value in (b"", b"\xff" * 40, b"{}")]
    log.append_now(EPISODES_TOPIC, [*poison, new_record(requests[0][1], subject=OTHER_SUBJECT)])
    log.close()
    found = settled(worker, len(events) + 4)
    assert found.sum("tupli_dead_letters_total", code="undecodable") == 3
    assert found.sum("tupli_dead_letters_total", code="foreign_owner") == 1
    assert found.sum("tupli_dead_letters_total") == len(grown.dead_letters())

    assert post_events(url, rest_of(requests[0])).status_code == 200
    assert settled(worker, len(events) + 4 + 2).each("tupli_open_streams") == [0]


def rest_of(events: list[Event]) -> list[Event]:
    """What an open stream of these events lacks: the final observation, and the end."""
    stream = StreamOfItems(events[0].stream).episode(1, 40).episode(2, 25)
    return stream.events(events[-1].last + 1)


@pytest.mark.timeout(300)
def test_a_worker_is_ready_when_its_group_and_its_store_have_answered_and_ends_while_they_hang(
    grown: Cluster,
) -> None:
    url = grown.gateway()
    create_benchmark(url)
    grown.clickhouse.fault(kind="code", code=159)
    process, worker = started_worker(grown)
    waits = "waits for the log and the store: the store does not answer (code 159)"
    eventually(lambda: why_not_ready(worker) == {"worker": waits}, seconds=30)

    seen: list[dict[str, str]] = []

    def is_ready() -> bool:
        wrong = why_not_ready(worker)
        assert wrong is not None
        seen.append(wrong)
        return not wrong

    grown.clickhouse.fault()
    eventually(is_ready, seconds=60)
    assert any("group" in wrong for wrong in seen), seen

    grown.clickhouse.fault(kind="code", code=159)
    eventually(lambda: "store" in (why_not_ready(worker) or {}), seconds=30)
    grown.clickhouse.fault()
    eventually(lambda: why_not_ready(worker) == {}, seconds=30)

    grown.clickhouse.fault(kind="hang", seconds=30)
    assert post_events(url, stream_of(1)).status_code == 200
    eventually(lambda: "has not answered" in (why_not_ready(worker) or {}).get("store", ""), seconds=30)
    begun = time.monotonic()
    assert httpx.get(f"{worker}/livez", trust_env=False, timeout=5).status_code == 200
    assert scrape(worker).sum("tupli_lag_records", topic=EPISODES_TOPIC) > 0
    assert time.monotonic() - begun < 2
    begun = time.monotonic()
    assert process.end(signal.SIGTERM) == 0
    assert time.monotonic() - begun < 10


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as made:
        yield made


@pytest.mark.timeout(300)
def test_a_request_is_followed_from_its_caller_to_the_block_that_it_became_part_of(
    tmp_path: Path, receiver: OtlpReceiver
) -> None:
    traced = {
        "TUPLI_INGEST_TRACES": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with cluster(tmp_path, partitions=PARTITIONS, **traced) as grown:
        url = grown.gateway()
        create_benchmark(url)
        worker, address = started_worker(grown)
        events = stream_of(1)
        place = {"traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "mine-1"}
        assert post_events(url, events, **place).status_code == 200
        assert post_events(url, events[1:2] + events[:1]).status_code == 422
        settled(address, len(events))
        assert worker.end() == 0

        eventually(lambda: len(receiver.spans("tupli-gateway", "POST /ingest/v1/events")) == 2)
        request, refused = receiver.spans("tupli-gateway", "POST /ingest/v1/events")
        assert (request.trace_id, request.parent_id) == (TRACE, CALLER)
        expected: dict[str, Any] = {
            "http.route": "/ingest/v1/events",
            "http.response.status_code": 200,
            "tupli.request_id": "mine-1",
        }
        assert expected.items() <= request.attributes.items()
        assert request.attributes["http.request.body.size"] > sum(len(encode_event(e)) for e in events)
        assert refused.attributes["http.response.status_code"] == 422
        assert refused.trace_id != TRACE

        appends = receiver.spans("tupli-gateway", "append")
        (append,) = [span for span in appends if span.trace_id == TRACE]
        assert append.parent_id == request.span_id
        assert append.attributes["messaging.batch.message_count"] == len(events)
        blocks = receiver.spans("tupli-worker", "block")
        assert blocks
        assert {link for block in blocks for link in block.links} == {(TRACE, append.span_id)}
        assert sum(block.attributes["tupli.records"] for block in blocks) == len(events)
        for name in ("fold", "write"):
            parents = {span.parent_id for span in receiver.spans("tupli-worker", name)}
            assert parents == {block.span_id for block in blocks}
        assert_lines_are_told_apart(grown)


def assert_lines_are_told_apart(grown: Cluster) -> None:
    """Every line of gateway and worker names its service; those of a request also that and its trace."""
    for process in grown.processes:
        service = f"tupli-{process.arguments[0]}"
        lines = [json.loads(line) for line in process.log.read_text(encoding="utf-8").splitlines()]
        assert lines
        assert {line.get("service") for line in lines} == {service}
        if service == "tupli-gateway":
            (told,) = [line for line in lines if line.get("request_id") == "mine-1"]
            assert (told["event"], told["trace_id"], told["status"]) == ("request", TRACE, 200)
