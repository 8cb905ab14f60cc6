"""The ingest service over HTTP, on a real log and a real chDB."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from support.ingest_dump import dump
from support.ingest_service import EVENTS, JSON, SETTINGS, Service, eventually
from support.ingest_streams import BENCHMARK, LAYOUT, STREAM, RowItem, StreamOfItems, started, steps_event
from tupli_ingest.adapters.data_lock import DataDirectoryBusy
from tupli_ingest.app import build
from tupli_schemas.catalog import CreateBenchmark, Delete, Publish, encode_command
from tupli_schemas.events import CATALOG_TOPIC, EpisodeAmended, EpisodeEnded, StepsRecorded, encode_rows
from tupli_schemas.framing import Kind, encode_frame
from tupli_schemas.ids import LOCAL_SUBJECT, episode_id, id_text, make_id
from tupli_schemas.records import Envelope, NewRecord


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.stop()


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    document: dict[str, Any] = response.json()
    assert (response.status_code, document["code"]) == (status, code), document
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"] == document["request_id"]
    return document


def test_events_are_accepted_and_become_visible(service: Service) -> None:
    assert service.create().json()["result"]["created"] is True
    events = StreamOfItems().episode(1, 50).episode(2, 30, end=False).events(cut=20)
    answer = service.send(events, compress=True)
    assert answer.status_code == 200
    assert answer.json() == {
        "accepted": len(events),
        "streams": {id_text(STREAM): 84},
        "linger_ms": 50,
    }
    service.settled()
    assert service.count() == 81
    stream = service.http.get(f"/ingest/v1/streams/{id_text(STREAM)}").json()
    assert stream["received"] == [[1, 84]]
    assert stream["expected"] == 85
    assert stream["position"] == {"generation": 1, "partition": 0, "offset": len(events) - 1}
    assert [(e["ordinal"], e["status"], e["prefix"]) for e in stream["episodes"]] == [
        (1, "terminated", 50),
        (2, "open", 30),
    ]


def test_an_unknown_benchmark_is_refused_and_nothing_is_written(service: Service) -> None:
    events = StreamOfItems().episode(1, 3).events()
    document = problem(service.send([*events]), 404, "unknown_benchmark")
    assert (document["place"], document["index"]) == ("events[0].benchmark.id", 0)
    assert service.parts.log.end("tupli.episodes.v1") == 0
    problem(service.http.get(f"/ingest/v1/streams/{id_text(STREAM)}"), 404, "unknown_stream")


def test_steps_and_ends_for_an_unknown_benchmark_are_refused_too(service: Service) -> None:
    """Their start is in another server's log: here they would be nobody's."""
    _, steps, last, end = StreamOfItems().episode(1, 3).events(cut=3)
    assert isinstance(steps, StepsRecorded)
    assert isinstance(end, EpisodeEnded)
    for event in (steps, end, EpisodeAmended(stream=STREAM, first=9, episode=1)):
        document = problem(service.send([replace(event, benchmark_id=BENCHMARK)]), 404, "unknown_benchmark")
        assert (document["place"], document["index"]) == ("events[0].benchmark_id", 0)
    assert service.parts.log.end("tupli.episodes.v1") == 0
    service.create()
    assert service.send([replace(steps, benchmark_id=BENCHMARK), last]).status_code == 200


def test_while_commands_are_read_an_unknown_benchmark_is_not_refused_but_asked_for_later(
    service: Service,
) -> None:
    events = StreamOfItems().episode(1, 3).events()
    with service.parts.projector.held():
        command = CreateBenchmark(command_id="late", benchmark=BENCHMARK, name="bench")
        envelope = Envelope(event=command.NAME, version=command.VERSION, subject=LOCAL_SUBJECT, received_at=1)
        service.parts.log.append_now(
            CATALOG_TOPIC, [NewRecord(LOCAL_SUBJECT, envelope, encode_command(command))]
        )
        answer = service.send([*events])
        problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"]
    service.settled()
    assert service.send([*events]).status_code == 200


def test_a_bad_event_names_its_index_and_nothing_is_written(service: Service) -> None:
    service.create()
    good = StreamOfItems().episode(1, 3).events()
    document = problem(service.send([*good, started(99, 2)]), 422, "invalid_event")
    assert (document["index"], document["place"]) == (3, "events[3].first")
    assert service.parts.log.end("tupli.episodes.v1") == 0


def test_steps_that_wrap_are_refused_and_nothing_is_written(service: Service) -> None:
    service.create()
    assert service.send([started(1, 1), started(2, 2)]).status_code == 200
    event = steps_event(3, [RowItem(1, 7), RowItem(1, 0), RowItem(2, 0)])
    steps = pa.array([2**64 - 1, 0, 0], pa.uint64())
    rows = event.rows().set_column(1, LAYOUT.arrow_schema.field(1), steps)
    document = problem(service.send([replace(event, body=encode_rows(rows))]), 422, "invalid_event")
    assert document["place"] == "events[0].rows.step"
    assert service.parts.log.end("tupli.episodes.v1") == 2
    service.settled()
    assert service.count("episodes") == 2


def test_bodies_are_limited(service: Service) -> None:
    post = service.http.post
    problem(post("/ingest/v1/events", content=bytes(200_001), headers=EVENTS), 413, "too_large")
    chunks = (bytes(50_000) for _ in range(100))
    problem(post("/ingest/v1/events", content=chunks, headers=EVENTS), 413, "too_large")
    bomb = encode_frame(Kind.EVENT, bytes(10_000_000), compress=True)
    assert len(bomb) < 10_000
    problem(post("/ingest/v1/events", content=bomb, headers=EVENTS), 413, "too_large")
    problem(post("/ingest/v1/events", content=b"x" * 40, headers=EVENTS), 400, "invalid_frame")
    cut = encode_frame(Kind.EVENT, b"abc")[:-1]
    problem(post("/ingest/v1/events", content=cut, headers=EVENTS), 400, "invalid_frame")
    problem(post("/ingest/v1/events", content=b"", headers=EVENTS), 400, "invalid_request")
    problem(post("/ingest/v1/events", content=b"{}", headers=JSON), 415, "unsupported_media_type")
    gzipped = EVENTS | {"content-encoding": "gzip"}
    problem(post("/ingest/v1/events", content=b"x", headers=gzipped), 415, "unsupported_media_type")


def test_every_error_is_a_problem_document(service: Service) -> None:
    problem(service.http.get("/nothing"), 404, "not_found")
    problem(service.http.get("/ingest/v1/events"), 405, "invalid_request")
    problem(service.http.get("/ingest/v1/streams/zzz"), 400, "invalid_request")
    problem(service.http.get(f"/ingest/v1/streams/{id_text(episode_id(STREAM, 1))}"), 400, "invalid_request")
    problem(service.http.get("/ingest/v1/commands/none"), 404, "not_found")
    own = service.http.get("/livez", headers={"x-request-id": "mine-1"})
    assert own.headers["x-request-id"] == "mine-1"
    forged = service.http.get("/livez", headers={"x-request-id": 'a"b'})
    assert forged.headers["x-request-id"] != 'a"b'


def test_an_unforeseen_error_tells_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode() -> str:
        raise RuntimeError("secret text")

    monkeypatch.setattr(service.parts.rebuilder, "request", explode)
    answer = service.http.post("/ingest/v1/rebuild")
    problem(answer, 500, "internal")
    assert "secret" not in answer.text


def test_a_full_log_is_507_and_goes_on_when_there_is_space(service: Service) -> None:
    service.create()
    events = StreamOfItems().episode(1, 3).events()
    free, service.parts.log._free = service.parts.log._free, lambda _path: 0
    answer = service.send(events)
    problem(answer, 507, "storage_full")
    assert answer.headers["retry-after"] == "1"
    problem(service.http.get("/readyz"), 503, "unavailable")
    service.parts.log._free = free
    assert service.send(events).status_code == 200
    assert service.settled().count() == 4


def test_it_is_ready_after_a_probe(service: Service) -> None:
    eventually(lambda: service.http.get("/readyz").status_code == 200)
    assert service.http.get("/livez").json() == {"status": "ok"}
    checks = service.http.get("/readyz").json()["checks"]
    assert checks == dict.fromkeys(
        ["projector", "processor", "eraser", "rebuilder", "log", "catalogue", "store"], ""
    )


def test_commands_are_idempotent_and_conflicts_are_told(service: Service) -> None:
    first = service.create().json()["result"]
    again = service.create(benchmark=make_id(1, 1)).json()["result"]
    assert (first["created"], again["created"]) == (True, False)
    assert again["id"] == first["id"] == id_text(BENCHMARK)
    problem(service.create("other"), 409, "conflict")
    unknown = Publish(command_id="p", kind="benchmark", ids=(make_id(9, 9),))
    assert problem(service.command(unknown), 404, "unknown_benchmark")["place"] == "ids[0]"
    same = service.http.get("/ingest/v1/commands/p")
    problem(same, 404, "unknown_benchmark")
    done = service.command(Publish(command_id="q", kind="benchmark", ids=(BENCHMARK,)))
    assert done.json()["verdict"] == "done"
    assert service.http.get("/ingest/v1/commands/q").json() == done.json()
    assert service.count("publications") == 1
    bad = service.http.post("/ingest/v1/commands", content=b"{", headers=JSON)
    problem(bad, 400, "invalid_request")


def test_a_command_beyond_its_time_is_202(tmp_path: Path) -> None:
    service = Service(tmp_path, SETTINGS.model_copy(update={"command_timeout_s": 0.05}))
    with service.parts.projector.held():
        answer = service.create()
        assert (answer.status_code, answer.json()) == (202, {"command_id": "create-bench-1"})
        problem(service.http.get("/ingest/v1/commands/create-bench-1"), 404, "not_found")
    eventually(lambda: service.http.get("/ingest/v1/commands/create-bench-1").status_code == 200)
    service.stop()


def test_deleting_erases_rows_also_those_that_come_later(service: Service) -> None:
    service.create()
    items = StreamOfItems().episode(1, 20).episode(2, 20)
    events = items.events(cut=5)
    service.send(events[:-2])
    service.settled()
    doomed = episode_id(STREAM, 2)
    answer = service.command(Delete(command_id="d", kind="episode", ids=(doomed,)))
    assert answer.json()["result"] == {"deleted": 1}
    eventually(lambda: service.count() == 21)
    service.send(events[-2:])
    service.settled()
    eventually(lambda: (service.count(), service.count("episodes")) == (21, 1))
    service.command(Delete(command_id="e", kind="benchmark", ids=(BENCHMARK,)))
    eventually(lambda: (service.count(), service.count("episodes")) == (0, 0))


def test_a_rebuild_shows_the_same_and_brings_nothing_back(service: Service) -> None:
    service.create()
    service.create("other", make_id(8, 8))
    service.send(StreamOfItems().episode(1, 40).episode(2, 30).episode(3, 10, end=False).events(cut=7))
    service.command(Publish(command_id="p", kind="episode", ids=(episode_id(STREAM, 1),), scope="lab"))
    service.command(Delete(command_id="d", kind="episode", ids=(episode_id(STREAM, 2),)))
    service.settled()
    eventually(lambda: service.count("episodes") == 2)
    before = dump(service.reader, "tupli_g1")
    answer = service.http.post("/ingest/v1/rebuild")
    assert answer.status_code == 202
    eventually(lambda: service.http.get("/ingest/v1/rebuild").json()["state"] != "running")
    progress = service.http.get("/ingest/v1/rebuild").json()
    assert (progress["state"], progress["job"], progress["generation"]) == ("done", answer.json()["job"], 2)
    assert progress["offset"] == progress["end"] == service.parts.log.end("tupli.episodes.v1")
    assert dump(service.reader, "tupli_g2") == before
    eventually(lambda: service.parts.generations.others() == [])
    other = StreamOfItems(make_id(77, 77)).episode(1, 5)
    assert service.send(other.events()).status_code == 200
    assert service.settled().database == "tupli_g2"
    assert service.count("episodes") == 3
    assert service.http.get(f"/ingest/v1/streams/{id_text(other.stream)}").json()["expected"] == 9


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    service = Service(tmp_path)
    with pytest.raises(DataDirectoryBusy):
        build(SETTINGS, data_dir=tmp_path)
    service.create()
    events = StreamOfItems().episode(1, 40).events(cut=7)
    service.send(events[:4])
    service.http.post("/ingest/v1/rebuild")
    eventually(lambda: service.http.get("/ingest/v1/rebuild").json()["state"] == "done")
    service.stop()
    again = Service(tmp_path)
    assert again.settled().database == "tupli_g2"
    assert again.http.get("/ingest/v1/commands/create-bench-1").json()["result"]["created"] is True
    again.command(CreateBenchmark(command_id="again", benchmark=make_id(1, 1), name="bench"))
    assert again.http.get("/ingest/v1/commands/again").json()["result"]["created"] is False
    again.send(events)
    assert again.settled().count() == 41
    assert again.count("episodes") == 1
    again.stop()
