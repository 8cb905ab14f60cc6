"""A bad deploy stops the processor; single bad records do not."""

import pytest

from tupli_ingest.core.errors import TooManyDeadLetters
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit


def block(limit: DeadLetterLimit, records: int, letters: int) -> None:
    limit.processed(records)
    if letters:
        limit.check(letters)
        limit.count(letters)
    limit.written()


def limit() -> DeadLetterLimit:
    return DeadLetterLimit(ratio=0.2, window=100, run=10)


def test_a_few_among_many_pass() -> None:
    one = limit()
    for _ in range(1_000):
        block(one, records=20, letters=3)


def test_too_many_of_the_window_stop_it() -> None:
    one = limit()
    block(one, records=50, letters=15)
    with pytest.raises(TooManyDeadLetters, match="21 of the last 100"):
        block(one, records=30, letters=6)


def test_old_blocks_leave_the_window() -> None:
    one = limit()
    block(one, records=50, letters=15)
    block(one, records=200, letters=0)
    block(one, records=30, letters=15)


def test_a_run_of_failing_records_stops_it() -> None:
    one = limit()
    for _ in range(9):
        block(one, records=1, letters=1)
    with pytest.raises(TooManyDeadLetters, match="10 records in a row"):
        block(one, records=1, letters=1)


def test_a_good_record_ends_a_run() -> None:
    one = limit()
    for _ in range(2):
        for _ in range(9):
            block(one, records=1, letters=1)
        block(one, records=1, letters=0)


def test_a_check_counts_nothing() -> None:
    one = limit()
    one.processed(5)
    with pytest.raises(TooManyDeadLetters):
        one.check(30)
    for _ in range(1_000):  # attempts to keep the same letters, say
        one.check(5)
