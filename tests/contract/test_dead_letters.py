"""What every place for dead letters promises."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ingest_adapters import DEAD_LETTERS, DeadLettersFactory, KeptDeadLetters
from tupli_ingest.core.errors import TooManyDeadLetters
from tupli_ingest.core.ports import DeadLetter, DeadLetters
from tupli_schemas.events import EPISODES_TOPIC
from tupli_schemas.records import Position

LIMIT = 5


@pytest.fixture(params=DEAD_LETTERS, ids=lambda factory: factory.__name__)
def letters(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeptDeadLetters]:
    factory: DeadLettersFactory = request.param
    with factory(tmp_path, LIMIT) as made:
        yield made


def letter(offset: int, code: str = "undecodable") -> DeadLetter:
    return DeadLetter(EPISODES_TOPIC, Position(1, 0, offset), bytes(16), code, f"why {offset}", b"payload")


def test_letters_are_kept_as_they_are_and_in_order(letters: DeadLetters) -> None:
    letters.put([letter(3), letter(1)])
    letters.put([letter(2)])
    assert letters.read() == [letter(3), letter(1), letter(2)]
    assert letters.read(after=0, max_records=1) == [letter(1)]
    assert letters.read(after=2) == []


def test_a_letter_may_be_put_again_after_a_crash(letters: DeadLetters) -> None:
    letters.put([letter(1)])
    letters.put([letter(1), letter(1, "rows_refused"), letter(2)])
    identities = {(one.position, one.code) for one in letters.read()}
    assert identities == {
        (letter(1).position, "undecodable"),
        (letter(1).position, "rows_refused"),
        (letter(2).position, "undecodable"),
    }


def test_a_caller_s_doing_is_kept_without_a_limit(letters: DeadLetters) -> None:
    letters.put([letter(offset, "no_more_tables") for offset in range(2 * LIMIT)])
    assert len(letters.read()) == 2 * LIMIT


def test_nothing_is_kept_beyond_the_limit(letters: DeadLetters) -> None:
    letters.put([letter(offset) for offset in range(LIMIT)])
    with pytest.raises(TooManyDeadLetters):
        letters.put([letter(LIMIT)])
    assert len(letters.read()) == LIMIT


def test_a_page_is_as_long_as_asked_for_and_goes_on_after_its_last_index(letters: KeptDeadLetters) -> None:
    assert (letters.entries(), letters.newest()) == ([], None)
    letters.put([letter(offset) for offset in range(LIMIT)])
    assert letters.newest() == LIMIT - 1
    seen, after = [], None
    while page := letters.entries(after, max_records=2):
        assert len(page) <= 2
        seen += page
        after = page[-1].index
    assert [kept.letter for kept in seen] == [letter(offset) for offset in range(LIMIT)]
    assert [kept.index for kept in seen] == list(range(LIMIT))
    (third,) = letters.entries(1, max_records=1)
    assert (third.index, third.letter) == (2, letter(2))
    assert letters.entries(LIMIT - 1) == letters.entries(10**6) == []
