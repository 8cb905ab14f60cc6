"""The threads of the service: what is away ends none of them, and is told while it lasts."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from structlog.testing import capture_logs

from tupli_ingest.core.errors import LogFull, LogUnavailable, StoreUnavailable, TooManyDeadLetters
from tupli_ingest.processing.worker import Worker


class Rounds(Worker):
    """Its rounds are what it is given, one after the other; then it waits."""

    def __init__(self, *rounds: "Callable[[Rounds], None]") -> None:
        super().__init__("rounds", retry_max_s=0.01)
        self._rounds = list(rounds)
        self.done = 0
        self.troubles: list[str] = []

    def round(self) -> None:
        self.troubles.append(self.trouble)
        if self._rounds:
            self._rounds[0](self)
            del self._rounds[0]
            self.done += 1
        self._stop.wait(0.005)


@contextmanager
def running(worker: Worker) -> Iterator[None]:
    worker.start()
    yield
    worker.stop(5)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.002)


def away(times: int, error: Exception) -> Callable[[Worker], None]:
    left = [times]

    def attempt(_: Worker) -> None:
        if left[0]:
            left[0] -= 1
            raise error

    return attempt


def test_a_round_that_finds_something_away_is_repeated() -> None:
    worker = Rounds(away(3, LogUnavailable("gone")), away(1, LogFull("no space")))
    with running(worker):
        until(lambda: worker.done == 2)
        until(lambda: not worker.problem)
    assert worker.failure == ""
    assert worker.troubles[1:4] == ["working: gone"] * 3


def test_trouble_is_logged_once_and_its_end_too() -> None:
    worker = Rounds(away(4, LogUnavailable("gone")))
    with capture_logs() as lines, running(worker):
        until(lambda: worker.done == 1 and not worker.trouble)
    assert [line["event"] for line in lines] == ["trying again", "goes on"]


def test_what_is_retried_within_a_round_does_not_hide_what_the_round_meets() -> None:
    seen: list[str] = []
    stores = [StoreUnavailable("store away"), None, None, StoreUnavailable("store away"), None]
    outer = away(2, LogUnavailable("gone"))

    def both(worker: Rounds) -> None:
        def write() -> None:
            if (error := stores.pop(0)) is not None:
                raise error

        worker.retry(write, "writing")
        seen.append(worker.trouble)
        outer(worker)

    worker = Rounds(both)
    with running(worker):
        until(lambda: worker.done == 1 and not worker.problem)
    assert seen == ["", "working: gone", "working: gone"]


def test_a_stop_ends_the_wait_for_what_is_away() -> None:
    worker = Rounds(away(10**9, LogUnavailable("gone")))
    worker._retry_max_s = 60
    with running(worker):
        until(lambda: worker.trouble)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2
    assert worker.failure == ""


def test_what_a_person_must_see_ends_it_still() -> None:
    worker = Rounds(away(1, TooManyDeadLetters("too many")))
    with running(worker):
        until(lambda: worker.failure)
        assert worker.problem == "stopped: too many"
