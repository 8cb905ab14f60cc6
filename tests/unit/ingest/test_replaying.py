"""What of a dead letter is appended again: the record as it was, and nothing that is none."""

from support.ingest_streams import OTHER_SUBJECT, STREAM, StreamOfItems, new_record
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryLog
from tupli_ingest.core.letter_text import describe
from tupli_ingest.core.ports import DeadLetter, KeptLetter
from tupli_ingest.core.replaying import first_of_each, next_batch, one_letter, read_at, record_of
from tupli_schemas.direct import DIRECT_PARTITIONS, Sealed, sealed_record
from tupli_schemas.events import DIRECT_TOPIC, EPISODES_TOPIC, encode_event
from tupli_schemas.records import Position, Record


def letter(offset: int, code: str = "foreign_owner", payload: bytes = b"") -> DeadLetter:
    return DeadLetter(EPISODES_TOPIC, Position(1, 0, offset), bytes(16), code, "why", payload)


def test_the_stamps_stay_the_first_one_s() -> None:
    log = MemoryLog()
    sent = new_record(StreamOfItems().episode(1, 3).events()[0], subject=OTHER_SUBJECT, received_at=77)
    log.append_now(EPISODES_TOPIC, [sent])
    batch = next_batch([KeptLetter(0, 0, letter(0))], lambda *at: read_at(log, *at))
    assert [record for _, record in batch.ready] == [sent]
    mine = record_of(letter(0, payload=b"mine"), lambda *at: read_at(log, *at))
    assert mine is not None
    assert (mine.payload, mine.envelope) == (b"mine", sent.envelope)


def test_what_is_no_record_or_gone_is_skipped_with_the_reason() -> None:
    raw = Record.read(Position(1, 0, 0), b"", b"\xff" * 9)
    some = [KeptLetter(3, 0, letter(0)), KeptLetter(4, 0, letter(1))]
    batch = next_batch(some, lambda _, at: raw if at.offset == 0 else None)
    assert (batch.ready, [index for index, _ in batch.skipped], batch.taken) == ([], [3, 4], 2)
    assert "no record" in batch.skipped[0][1]
    told = describe(EPISODES_TOPIC, raw)
    assert (told["hex"], told["size"], bool(told["error"])) == ("ff" * 9, 9, True)


def test_what_was_processed_but_for_its_rows_is_a_rebuild_s() -> None:
    log = MemoryLog()
    log.append_now(EPISODES_TOPIC, [new_record(StreamOfItems().episode(1, 3).events()[0])])
    some = [KeptLetter(i, 0, letter(0, code)) for i, code in enumerate(("rows_refused", "no_more_tables"))]
    batch = next_batch(some, lambda *at: read_at(log, *at))
    assert (batch.ready, [index for index, _ in batch.skipped]) == ([], [0, 1])
    assert "rebuild" in batch.skipped[0][1]


def test_a_record_with_two_letters_is_replayed_once() -> None:
    some = [
        KeptLetter(i, 0, letter(offset, code))
        for i, (offset, code) in enumerate([(1, "a"), (2, "a"), (1, "b")])
    ]
    assert [kept.letter.position.offset for kept in first_of_each(some)] == [1, 2]


def test_one_letter_is_found_by_its_index() -> None:
    letters = MemoryDeadLetters()
    letters.put([letter(offset) for offset in range(3)])
    for index in range(3):
        kept = one_letter(letters, index)
        assert kept is not None
        assert kept.letter == letter(index)
    assert one_letter(letters, 3) is None


def sealed_letter(code: str, offset: int = 0) -> KeptLetter:
    place = Position(1, DIRECT_PARTITIONS, offset)
    return KeptLetter(offset, 0, DeadLetter(DIRECT_TOPIC, place, STREAM, code, "why"))


def test_a_sealed_record_goes_back_as_it_is_and_what_nobody_allowed_does_not() -> None:
    codes = ["foreign_owner", "invalid_event", "no_grant", "bad_signature", "grant_refused", "not_granted"]
    letters = [sealed_letter(code, number) for number, code in enumerate([*codes, "not_direct"])]
    batch = next_batch(letters, lambda _topic, place: sealed_record(place, STREAM, b"TDR1 and so on", 5))
    assert [kept.index for kept, _ in batch.ready] == [0, 1]
    assert [record.to_bytes() for _, record in batch.ready] == [b"TDR1 and so on"] * 2
    assert {index: reason.split()[0] for index, reason in batch.skipped} == {
        2: "what",
        3: "what",
        4: "its",
        5: "what",
        6: "what",
    }


def test_a_sealed_record_is_described_by_its_event_and_never_believed() -> None:
    event = encode_event(StreamOfItems().episode(1, 3).events()[0])
    value = Sealed(b"grant", bytes(64), event).to_bytes()
    place = Position(1, DIRECT_PARTITIONS, 0)
    told = describe(DIRECT_TOPIC, sealed_record(place, STREAM, value, 5))
    assert (told["event"], told["error"], "envelope" in told) == ("EpisodeStarted", "", False)
    told = describe(DIRECT_TOPIC, sealed_record(place, STREAM, b"junk", 5))
    assert (told["error"], told["hex"]) == ("it has no grant", b"junk".hex())
