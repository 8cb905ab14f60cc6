"""Range sets behave as plain sets of numbers."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tupli_ingest.core.ranges import RangeSet

RANGES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(-1, 8)).map(lambda p: (p[0], p[0] + p[1])), max_size=12
)
WINDOW = st.tuples(st.integers(0, 45), st.integers(-1, 20)).map(lambda p: (p[0], p[0] + p[1]))


def numbers(ranges: list[tuple[int, int]]) -> set[int]:
    return {n for first, last in ranges for n in range(first, last + 1)}


@settings(max_examples=200)
@given(RANGES, WINDOW)
def test_a_range_set_is_a_set(ranges: list[tuple[int, int]], window: tuple[int, int]) -> None:
    ours, plain = RangeSet(ranges), numbers(ranges)
    inside = set(range(window[0], window[1] + 1))
    assert numbers(ours.ranges()) == plain
    assert all(a[1] + 1 < b[0] for a, b in zip(ours.ranges(), ours.ranges()[1:], strict=False))
    assert numbers(ours.missing(*window)) == inside - plain
    assert numbers(ours.common(*window)) == inside & plain
    assert all((n in ours) == (n in plain) for n in range(60))
    assert ours.count == len(plain)
    assert ours.last == max(plain, default=None)
    assert bool(ours) == bool(plain)
    assert ours.is_exactly(*window) == (plain == inside)
    assert ours.gapless_end(window[0]) == next(n for n in range(window[0], 100) if n not in plain)


def test_order_does_not_matter() -> None:
    assert RangeSet([(1, 2), (4, 5), (3, 3)]) == RangeSet([(1, 5)]) == RangeSet([(3, 5), (1, 4)])
    assert len(RangeSet([(1, 2), (4, 5)])) == 2


def test_the_repr_names_the_ranges() -> None:
    assert repr(RangeSet([(1, 2)])) == "RangeSet([(1, 2)])"
