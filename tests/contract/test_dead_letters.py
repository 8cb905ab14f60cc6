"""What every place for dead letters promises."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ingest_adapters import DEAD_LETTERS, DeadLettersFactory
from tupli_ingest.core.errors import TooManyDeadLetters
from tupli_ingest.core.ports import DeadLetter, DeadLetters
from tupli_schemas.events import EPISODES_TOPIC
from tupli_schemas.records import Position

LIMIT = 5


@pytest.fixture(params=DEAD_LETTERS, ids=lambda factory: factory.__name__)
def letters(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DeadLetters]:
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


def test_nothing_is_kept_beyond_the_limit(letters: DeadLetters) -> None:
    letters.put([letter(offset) for offset in range(LIMIT)])
    with pytest.raises(TooManyDeadLetters):
        letters.put([letter(LIMIT)])
    assert len(letters.read()) == LIMIT
