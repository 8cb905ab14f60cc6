"""A command that waits for the store: as long as it was told to, and it says what for."""

import pytest
from structlog.testing import capture_logs

from tupli_ingest.core.errors import StoreUnavailable, UnfitStore
from tupli_ingest.waiting import once_answered


class Store:
    """Answers from `since` on, by a clock of its own; before that it refuses, with the reasons in turn."""

    def __init__(self, since: float, *reasons: str) -> None:
        self.now = 0.0
        self.asked = 0
        self._since = since
        self._reasons = list(reasons)

    def attempt(self) -> str:
        self.asked += 1
        if self.now < self._since:
            raise StoreUnavailable(self._reasons.pop(0) if len(self._reasons) > 1 else self._reasons[0])
        return "done"

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def answer(self, wait_s: float) -> str:
        return once_answered(self.attempt, wait_s, clock=lambda: self.now, pause=self.pause)


def test_it_waits_and_tells_each_reason_once() -> None:
    store = Store(5, "is away", "is away", "has no such account", "is away")
    with capture_logs() as lines:
        assert store.answer(60) == "done"
    told = [(line["event"], line["reason"], line["at_most_s"]) for line in lines]
    assert told == [
        ("waiting", "is away", 60),
        ("waiting", "has no such account", 58),
        ("waiting", "is away", 57),
    ]


def test_it_gives_up_after_its_time_with_the_last_reason() -> None:
    store = Store(10, "is away")
    with pytest.raises(StoreUnavailable, match="is away"):
        store.answer(2.5)
    assert (store.now, store.asked) == (2.5, 4)


def test_it_does_not_wait_where_it_must_not() -> None:
    store = Store(1, "is away")
    with pytest.raises(StoreUnavailable):
        store.answer(0)
    assert store.asked == 1


def test_what_no_waiting_can_heal_is_told_at_once() -> None:
    def attempt() -> None:
        raise UnfitStore("is replicated")

    with pytest.raises(UnfitStore):
        once_answered(attempt, 60)
