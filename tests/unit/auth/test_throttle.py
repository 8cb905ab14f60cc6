from hypothesis import given
from hypothesis import strategies as st

from tupli_auth.core.throttle import FREE_OF_ADDRESS, FREE_OF_NAME, LONGEST_S, sources, wait_s

NOW = 1_000_000_000


def test_the_first_tries_wait_for_nothing() -> None:
    name, address = sources("admin", "192.0.2.1")

    assert wait_s({}, NOW) == 0
    assert wait_s({name: (FREE_OF_NAME - 1, NOW), address: (FREE_OF_ADDRESS - 1, NOW)}, NOW) == 0


@given(st.integers(FREE_OF_NAME, 10**6))
def test_each_wait_is_as_long_as_the_one_before_or_longer_and_ends(count: int) -> None:
    name, _ = sources("admin", "192.0.2.1")
    waits = [wait_s({name: (failed, NOW)}, NOW) for failed in (count, count + 1)]

    assert 1 <= waits[0] <= waits[1] <= LONGEST_S
    assert wait_s({name: (count, NOW)}, NOW + waits[0] * 1_000) == 0


def test_a_name_waits_where_it_failed() -> None:
    here, elsewhere = sources("admin", "192.0.2.1"), sources("admin", "192.0.2.2")

    assert not set(here) & set(elsewhere)


def test_no_name_is_taken_for_an_address() -> None:
    assert sources("", "192.0.2.1")[0] == sources("anybody", "192.0.2.1")[1]  # nobody is called so
