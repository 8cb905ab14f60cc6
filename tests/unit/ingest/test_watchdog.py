"""When a worker stands still: not while nothing waits, and only after what waits has waited long enough."""

from tupli_ingest.processing.watchdog import LONGEST_STEP_S, Watchdog


def looks(watchdog: Watchdog, *, since: float, seconds: float, waits: bool, moves: int) -> float:
    """The last answer of a look every half second."""
    still = 0.0
    for number in range(int(seconds * 2) + 1):
        still = watchdog.look(since + number / 2, waits=waits, moves=moves)
    return still


def test_the_first_record_after_a_long_idle_time_has_not_waited() -> None:
    watchdog = Watchdog()
    assert looks(watchdog, since=0, seconds=100, waits=False, moves=3) == 0
    assert watchdog.look(100.5, waits=True, moves=3) == 0
    assert watchdog.look(101.0, waits=True, moves=3) == 0.5


def test_what_waits_and_never_comes_is_counted_from_its_beginning() -> None:
    watchdog = Watchdog()
    looks(watchdog, since=0, seconds=100, waits=False, moves=3)
    assert looks(watchdog, since=100.5, seconds=60, waits=True, moves=3) == 60


def test_every_move_and_every_empty_moment_begins_anew() -> None:
    watchdog = Watchdog()
    assert looks(watchdog, since=0, seconds=30, waits=True, moves=0) == 30
    assert looks(watchdog, since=30.5, seconds=20, waits=True, moves=1) == 20
    watchdog.look(51, waits=False, moves=1)
    assert looks(watchdog, since=51.5, seconds=10, waits=True, moves=1) == 10


def test_the_sleep_of_the_process_itself_does_not_count() -> None:
    watchdog = Watchdog()
    watchdog.look(0, waits=True, moves=0)
    assert watchdog.look(1_000, waits=True, moves=0) == LONGEST_STEP_S
