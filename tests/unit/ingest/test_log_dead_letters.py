"""Attempts to keep the same letters are no further letters."""

from collections.abc import Sequence

import pytest

from tupli_ingest.adapters.log_dead_letters import LogDeadLetters
from tupli_ingest.adapters.memory import MemoryLog
from tupli_ingest.core.errors import LogFull, TooManyDeadLetters
from tupli_ingest.core.ports import DeadLetter
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_schemas.events import EPISODES_TOPIC
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
