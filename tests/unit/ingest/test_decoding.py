"""What the gateway decoded is not decoded again, and never changes what a record means."""

import sys
import tracemalloc

from support.ingest_streams import STREAM, StreamOfItems, new_record
from tupli_ingest.core.decoding import Checked, decode_record
from tupli_ingest.core.rows import parse_layout
from tupli_ingest.core.validation import Sender, accept_frames
from tupli_ingest.processing.decoded import Decoded
from tupli_schemas.events import encode_event
from tupli_schemas.framing import Frame, Kind
from tupli_schemas.ids import LOCAL_SUBJECT, make_id
from tupli_schemas.records import Position, Record

EVENTS = StreamOfItems().episode(1, 5).events(cut=2)
PAYLOADS = [encode_event(event) for event in EVENTS]
CHECKED = accept_frames(
    [Frame(Kind.EVENT, payload) for payload in PAYLOADS], Sender(subject=LOCAL_SUBJECT, received_at=5)
).checked


def filled(max_bytes: int = 1_000_000) -> Decoded:
    decoded = Decoded(max_bytes)
    for payload, checked in zip(PAYLOADS, CHECKED, strict=True):
        decoded.keep(payload, checked)
    return decoded


def record(number: int, key: bytes = STREAM) -> Record:
    new = new_record(EVENTS[number])
    return Record(Position(1, 0, number), key, new.envelope, new.payload)


def test_an_item_of_what_is_kept_is_the_item_of_the_record() -> None:
    decoded = filled()
    for number, checked in enumerate(CHECKED):
        item, plain = (
            decode_record(record(number), decoded.take(PAYLOADS[number])),
            decode_record(record(number)),
        )
        assert item.event is checked.event
        assert (item.event, item.ordinals, item.error) == (plain.event, plain.ordinals, "")
        if plain.rows is not None:
            assert item.rows is not None
            assert item.rows.groups == plain.rows.groups
            assert item.rows.batch.equals(plain.rows.batch)


def test_an_event_is_taken_once_by_the_same_bytes_alone() -> None:
    decoded = filled()
    assert decoded.take(PAYLOADS[1] + b" ") is None
    assert decoded.take(PAYLOADS[1]) is CHECKED[1]
    assert decoded.take(PAYLOADS[1]) is None


def test_other_bytes_of_the_same_digest_are_not_the_event() -> None:
    decoded = Decoded(digest=lambda _: b"made to be equal")
    decoded.keep(PAYLOADS[1], CHECKED[1])
    decoded.keep(PAYLOADS[2], CHECKED[2])
    assert decoded.take(PAYLOADS[2]) is None
    assert decoded.take(PAYLOADS[1]) is CHECKED[1]


def test_what_was_kept_before_is_forgotten_with_what_is_taken() -> None:
    decoded = filled()
    assert decoded.take(PAYLOADS[2]) is CHECKED[2]
    assert decoded.take(PAYLOADS[0]) is None
    assert decoded.take(PAYLOADS[3]) is CHECKED[3]


def test_no_more_is_kept_than_there_is_room_for_and_what_is_taken_makes_room() -> None:
    decoded = filled(15_000)  # two events, one with rows
    assert decoded.take(PAYLOADS[2]) is None
    assert decoded.take(PAYLOADS[1]) is CHECKED[1]
    decoded.keep(PAYLOADS[2], CHECKED[2])
    assert decoded.take(PAYLOADS[2]) is CHECKED[2]


def test_what_nobody_takes_does_not_stay_for_ever() -> None:
    decoded = Decoded(15_000)
    for number in range(100):  # the log refuses these, and they come again in other pieces
        decoded.keep(b"%d" % number + PAYLOADS[1], CHECKED[1])
    hits = 0
    for number in range(1_000):
        payload = b"again %d" % number + PAYLOADS[1]
        decoded.keep(payload, CHECKED[1])
        hits += decoded.take(payload) is not None
    assert hits > 900


def test_what_is_kept_is_counted_with_what_python_takes_for_it() -> None:
    decoded = Decoded(1_000_000)
    payloads = [number.to_bytes(4, "little") + PAYLOADS[1] for number in range(1_000)]
    for payload in payloads:
        decoded.keep(payload, CHECKED[1])
    kept = [payload for payload in payloads if decoded.take(payload) is not None]
    assert 0 < len(kept) <= 1_000_000 // 4_000  # an event of one row takes 4 kB without its bytes


def test_a_record_under_a_foreign_key_is_undecodable_however_it_was_kept() -> None:
    item = decode_record(record(0, make_id(1_700_000_000_000, 77)), CHECKED[0])
    assert item.event is None
    assert "stream" in item.error


def test_events_that_were_kept_hold_their_rows() -> None:
    assert [checked.rows is not None for checked in CHECKED] == [
        event.NAME == "StepsRecorded" for event in EVENTS
    ]
    assert Checked(EVENTS[0]).rows is None


def test_layouts_that_anyone_names_do_not_fill_the_memory() -> None:
    layouts = [f"o={'|'.join(f'f4[{n + i}]' for i in range(1, 100))};a=;x=" for n in range(200)]
    tracemalloc.start()
    try:
        for layout in layouts:
            _ = parse_layout(layout).schema_message
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        parse_layout.cache_clear()
    assert held < 4_500_000


def test_the_bytes_of_an_event_are_not_kept_beside_its_body() -> None:
    payload = bytes(bytearray(PAYLOADS[1]))
    before = sys.getrefcount(payload)
    decoded = Decoded()
    decoded.keep(payload, CHECKED[1])
    assert sys.getrefcount(payload) == before
    assert decoded.take(payload) is CHECKED[1]
