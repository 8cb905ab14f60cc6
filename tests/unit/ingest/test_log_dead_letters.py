"""Attempts to keep the same letters are no further letters, and no letter is too large to be kept."""

from collections.abc import Sequence

import pytest

from support.meters import KeptMeter
from tupli_ingest.adapters.log_dead_letters import LogDeadLetters
from tupli_ingest.adapters.memory import MemoryLog
from tupli_ingest.core.errors import LogFull, TooManyDeadLetters
from tupli_ingest.core.ports import DeadLetter, KeptLetter
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_schemas.events import DEAD_LETTERS_TOPIC, EPISODES_TOPIC, MAX_EVENT_BYTES
from tupli_schemas.records import NewRecord, Position


class FullLog(MemoryLog):
    """Has no room for a while."""

    full = True

    def append_now(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        if self.full:
            raise LogFull("no space")
        return super().append_now(topic, records)


def letter(offset: int) -> DeadLetter:
    return DeadLetter(EPISODES_TOPIC, Position(1, 0, offset), bytes(16), "undecodable", "why", b"")


def test_a_full_log_is_tried_for_as_long_as_it_takes() -> None:
    log, limit = FullLog(), DeadLetterLimit(ratio=0.5, window=10, run=3)
    letters = LogDeadLetters(log, limit=limit, now_ms=lambda: 0)
    limit.processed(1)
    for _ in range(1_000):
        with pytest.raises(LogFull):
            letters.put([letter(0)])
    log.full = False
    letters.put([letter(0)])
    limit.written()
    assert len(letters.read()) == 1
    limit.processed(1)
    letters.put([letter(1)])
    limit.processed(1)
    with pytest.raises(TooManyDeadLetters, match="3 records in a row"):
        letters.put([letter(2)])


class Late(MemoryLog):
    """Another process keeps the same letters between our look at the topic and our append."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[LogDeadLetters] = []

    def append_now(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        if self.others:
            self.others.pop().put([letter(0), letter(1)])
        return super().append_now(topic, records)


def of(log: MemoryLog, meter: KeptMeter) -> LogDeadLetters:
    limit = DeadLetterLimit(ratio=1, window=100, run=100)
    return LogDeadLetters(log, limit=limit, now_ms=lambda: 0, meter=meter)


@pytest.mark.parametrize("page", [1, 2, 100])
def test_what_two_processes_keep_at_once_is_one_letter(page: int) -> None:
    log, meter = Late(), KeptMeter()
    ours, theirs = of(log, meter), of(log, meter)
    log.others.append(theirs)
    ours.put([letter(1), letter(2), letter(0)])
    assert log.end(DEAD_LETTERS_TOPIC) == 5
    for letters in (ours, theirs, of(log, meter)):
        seen: list[KeptLetter] = []
        while found := letters.entries(seen[-1].index if seen else None, page):
            seen += found
        assert [(one.index, one.letter) for one in seen] == [(0, letter(0)), (1, letter(1)), (3, letter(2))]
    assert meter.letters == {"undecodable": 3}


@pytest.mark.parametrize(
    ("key", "payload"), [(MAX_EVENT_BYTES + 1, 0), (16, MAX_EVENT_BYTES), (6 << 20, 7 << 20)]
)
def test_of_a_record_that_fills_its_topic_the_log_has_the_rest(key: int, payload: int) -> None:
    log = MemoryLog()
    large = DeadLetter(
        EPISODES_TOPIC, Position(1, 0, 7), bytes(key), "undecodable", "why" * 10_000, bytes(payload)
    )
    of(log, KeptMeter()).put([large])
    (record,) = log.read(DEAD_LETTERS_TOPIC, 0, max_bytes=1)
    assert len(record.payload) + len(record.key) < 10_000
    (kept,) = of(log, KeptMeter()).read()
    assert (kept.position, kept.code, kept.payload, kept.key) == (
        large.position,
        large.code,
        b"",
        bytes(min(key, 128)),
    )
    assert kept.reason.endswith(f"({key + payload} bytes, which the log alone has)")


def test_a_record_of_the_largest_event_is_kept_whole() -> None:
    log = MemoryLog()
    whole = DeadLetter(
        EPISODES_TOPIC, Position(1, 0, 7), bytes(16), "undecodable", "why", bytes(MAX_EVENT_BYTES - 16)
    )
    of(log, KeptMeter()).put([whole])
    assert of(log, KeptMeter()).read() == [whole]
