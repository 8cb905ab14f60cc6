"""Records that went straight to Kafka are judged as the gateway would, and no less."""

import json
import struct
from dataclasses import replace

import pytest

from support.direct_records import (
    DIRECT_STREAM,
    NOW_S,
    direct_events,
    named,
    read_record,
)
from support.ingest_streams import BENCHMARK, OTHER_SUBJECT, STREAM, StreamOfItems, new_record, started
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryStore
from tupli_ingest.core.direct import DirectDecoder, Grant
from tupli_ingest.core.errors import GrantRefused, RequestRefused
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import OUR_FAULT
from tupli_ingest.core.validation import Sender, accept_frames
from tupli_schemas.direct import SIGNATURE_BYTES, Sealed
from tupli_schemas.events import DIRECT_TOPIC, Event, StepsRecorded, encode_event
from tupli_schemas.framing import Frame, Kind
from tupli_schemas.ids import make_direct_id
from tupli_schemas.records import Position, Record

OTHER = make_direct_id(1_700_000_000_000, 8)
GOOD = b"\x01" * SIGNATURE_BYTES


class Allowed:
    """Grants for whom `OTHER_SUBJECT` is: a token is good, or says what is wrong with it."""

    def __init__(self, *, stream: bytes | None = None) -> None:
        self.stream = stream
        self.asked: list[int] = []

    def verified(self, token: bytes, appended_ms: int) -> Grant:
        self.asked.append(appended_ms)
        if token != b"good":
            raise GrantRefused(token.decode())
        return Grant(OTHER_SUBJECT, BENCHMARK, self.stream, lambda signature, _: signature == GOOD)


def sealed(event: Event | bytes, *, token: bytes = b"good", signature: bytes = GOOD) -> bytes:
    return Sealed(token, signature, event if isinstance(event, bytes) else encode_event(event)).to_bytes()


def decoder(grants: Allowed | None = None, partition: int = 0) -> DirectDecoder:
    return DirectDecoder(grants or Allowed(), lambda _: partition)


EVENTS = direct_events()
START, STEPS, *_, END = EVENTS


def test_a_record_gets_its_envelope_from_the_grant_and_the_broker() -> None:
    grants = Allowed()
    item = decoder(grants)(read_record(sealed(STEPS), appended_s=NOW_S + 7))
    assert item.error == ""
    assert item.event == STEPS
    assert item.rows is not None
    envelope = item.record.envelope
    assert (envelope.subject, envelope.received_at) == (OTHER_SUBJECT, (NOW_S + 7) * 1_000)
    assert (envelope.event, envelope.version, envelope.client) == ("StepsRecorded", 1, "direct")
    assert item.record.payload == encode_event(STEPS)
    assert grants.asked == [(NOW_S + 7) * 1_000]


def test_records_of_the_other_topic_are_none_of_its_business() -> None:
    record = new_record(StreamOfItems().episode(1, 3).events()[0])
    found = Record(Position(1, 0, 0), record.key, record.envelope, record.payload)
    assert decoder()(found).event is not None
    with_mark = new_record(START)
    old = Record(Position(1, 0, 0), with_mark.key, with_mark.envelope, with_mark.payload)
    assert decoder()(old).event == START


def test_what_no_check_foresaw_is_refused_and_ends_nobody() -> None:
    class Broken(Allowed):
        def verified(self, token: bytes, appended_ms: int) -> Grant:
            raise struct.error("unforeseen")

    item = decoder(Broken())(read_record(sealed(START)))
    assert (item.event, item.record.code) == (None, "invalid_event")
    assert item.error == "cannot be checked: its parts do not go together"


def steps(**changes: object) -> StepsRecorded:
    assert isinstance(STEPS, StepsRecorded)
    return replace(STEPS, **changes)  # type: ignore[arg-type]  # members of any kind, for a test


ROWS = STEPS.body if isinstance(STEPS, StepsRecorded) else b""
REFUSED: dict[str, tuple[Record, str]] = {
    "no bytes": (read_record(b""), "no_grant"),
    "a record of the other topic": (read_record(new_record(START).to_bytes()), "no_grant"),
    "an event": (read_record(encode_event(START)), "no_grant"),
    "a cut seal": (read_record(sealed(START)[:30]), "no_grant"),
    "a bad grant": (read_record(sealed(START, token=b"expired")), "grant_refused"),
    "timestamps of the sender": (read_record(sealed(START), appended_s=-1), "grant_refused"),
    "a bad signature": (read_record(sealed(START, signature=bytes(64))), "bad_signature"),
    "a key that no length is for": (read_record(sealed(START), key=bytes(1 << 16)), "not_direct"),
    "a key that is no id": (read_record(sealed(START), key=b"k"), "not_direct"),
    "another stream's key": (read_record(sealed(START), key=OTHER), "invalid_event"),
    "a stream of the gateway's": (
        read_record(sealed(started(1, 1)), key=STREAM),
        "not_direct",
    ),
    "another benchmark": (read_record(sealed(named(START, OTHER_SUBJECT))), "not_granted"),
    "steps for another benchmark": (read_record(sealed(named(STEPS, OTHER_SUBJECT))), "not_granted"),
    "an end for no benchmark": (read_record(sealed(named(END, b""))), "not_granted"),
    "a scope of no name": (
        read_record(sealed(replace(START, publish_in=("a b",)))),  # type: ignore[arg-type]  # it is a start
        "invalid_event",
    ),
    "rows that are cut": (read_record(sealed(steps(body=ROWS[:-90]))), "invalid_event"),
    "numbers that rows do not have": (read_record(sealed(steps(last=99))), "invalid_event"),
    "an unknown version": (
        read_record(sealed(encode_event(END).replace(b'"version":1', b'"version":9'))),
        "invalid_event",
    ),
    "bytes that are no event": (read_record(sealed(b"\xff" * 90)), "invalid_event"),
    "an id of an episode": (
        read_record(sealed(replace(START, stream=DIRECT_STREAM[:12] + b"\0\0\0\1")), key=DIRECT_STREAM),
        "invalid_event",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_becomes_a_dead_letter_of_its_code(name: str) -> None:
    record, code = REFUSED[name]
    item = decoder()(record)
    assert item.event is None
    assert (item.record.code, bool(item.error)) == (code, True)
    assert code not in OUR_FAULT


def test_a_record_in_another_partition_than_its_streams_is_refused() -> None:
    item = decoder(partition=3)(read_record(sealed(START)))
    assert (item.record.code, item.error) == (
        "not_direct",
        "records of its stream belong into partition 3",
    )


def test_a_grant_for_one_stream_is_for_no_other() -> None:
    assert decoder(Allowed(stream=DIRECT_STREAM))(read_record(sealed(START))).error == ""
    assert decoder(Allowed(stream=OTHER))(read_record(sealed(START))).record.code == "not_granted"


def test_what_no_check_foresaw_ends_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(_: bytes) -> None:
        raise NotImplementedError("an Arrow type that nobody knows")

    monkeypatch.setattr("tupli_ingest.core.direct.check_alone", odd)
    assert decoder()(read_record(sealed(START))).record.code == "invalid_event"


def test_dead_letters_name_the_topic_and_the_rest_is_assembled() -> None:
    store, letters = MemoryStore(), MemoryDeadLetters()
    decode, pipeline = decoder(), Pipeline(store, letters)
    values = [sealed(event) for event in EVENTS]
    values.insert(2, sealed(STEPS, signature=bytes(64)))
    values.insert(0, b"junk")
    pipeline.add_items([decode(read_record(value, offset=n)) for n, value in enumerate(values)])
    pipeline.flush()
    assert [(one.topic, one.code, one.position.offset) for one in letters.read()] == [
        (DIRECT_TOPIC, "no_grant", 0),
        (DIRECT_TOPIC, "bad_signature", 3),
    ]
    (stream,) = store.load_streams({DIRECT_STREAM: None}).values()
    assert [row["status"] for row in stream.episodes] == ["terminated"]
    assert stream.stream is not None
    assert stream.stream["owner"] == OTHER_SUBJECT


def test_without_a_judge_nothing_of_it_is_believed() -> None:
    store, letters = MemoryStore(), MemoryDeadLetters()
    pipeline = Pipeline(store, letters)
    pipeline.add([read_record(sealed(START)), read_record(encode_event(START), offset=1)])
    pipeline.flush()
    assert [one.code for one in letters.read()] == ["no_grant", "no_grant"]


def test_the_gateway_refuses_events_of_direct_streams() -> None:
    sender = Sender(subject=OTHER_SUBJECT, received_at=1)
    with pytest.raises(RequestRefused) as caught:
        accept_frames([Frame(Kind.EVENT, encode_event(START))], sender)
    assert caught.value.problem.place == "events[0].stream"
    assert "straight to Kafka" in caught.value.problem.detail
    assert json.dumps(caught.value.problem.to_json())
