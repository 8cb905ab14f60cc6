"""Log records survive their bytes; positions sort as the log does."""

import pytest

from support import golden
from tupli_schemas.errors import EventError
from tupli_schemas.records import Position, Record

AT = Position(1, 0, 7)


def test_a_record_survives_its_bytes() -> None:
    record = golden.record()
    got = Record.from_bytes(AT, record.key, record.to_bytes())
    assert got == Record(AT, record.key, record.envelope, record.payload)


def test_a_record_whose_head_is_cut_is_refused_with_its_offset() -> None:
    raw = golden.record().to_bytes()
    for cut in range(len(raw) - len(golden.record().payload)):
        with pytest.raises(EventError, match="offset 7"):
            Record.from_bytes(AT, b"k", raw[:cut])


@pytest.mark.parametrize("head", [b"[]", b"5", b"null", b"{}", b'{"subject":5}', b'{"subject":"x"}', b"\xff"])
def test_a_head_that_is_no_envelope_is_refused(head: bytes) -> None:
    with pytest.raises(EventError):
        Record.from_bytes(AT, b"k", len(head).to_bytes(4, "little") + head)


def test_a_member_of_a_newer_writer_is_ignored() -> None:
    raw = golden.record().to_bytes()
    newer = raw[4:].replace(b'{"client"', b'{"newer":1,"client"', 1)
    size = int.from_bytes(raw[:4], "little") + len(b'"newer":1,')
    assert (
        Record.from_bytes(AT, b"k", size.to_bytes(4, "little") + newer).envelope == golden.record().envelope
    )


def test_positions_sort_as_the_log_does() -> None:
    assert Position(1, 0, 9) < Position(1, 0, 10) < Position(1, 1, 0) < Position(2, 0, 0)


def test_what_is_no_record_is_read_as_it_stands_with_the_reason() -> None:
    for value in (b"", b"\xff" * 40, b"{}", golden.record().to_bytes()[:10]):
        found = Record.read(Position(1, 2, 3), b"key", value)
        assert (found.payload, found.key, found.position) == (value, b"key", Position(1, 2, 3))
        assert found.error
    want = golden.record()
    assert Record.read(Position(1, 2, 3), want.key, want.to_bytes()).error == ""
