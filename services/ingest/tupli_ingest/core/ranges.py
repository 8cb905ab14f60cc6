"""Sets of whole numbers, kept as closed ranges: what of a stream or an episode has come.

Almost always numbers come in order, so that there is one range and everything is O(1).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

Range = tuple[int, int]


class RangeSet:
    """A set of whole numbers as sorted closed ranges that neither overlap nor touch."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self.ranges() == other.ranges()

    __hash__ = None  # type: ignore[assignment]  # a set that changes has no hash

    def __repr__(self) -> str:
        return f"RangeSet({self.ranges()})"

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __len__(self) -> int:
        """How many ranges there are (not numbers)."""
        return len(self._firsts)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    @property
    def last(self) -> int | None:
        """The greatest number; None when empty."""
        return self._lasts[-1] if self._lasts else None

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def ranges(self) -> list[Range]:
        """The ranges, in order."""
        return list(zip(self._firsts, self._lasts, strict=True))

    def add(self, first: int, last: int) -> None:
        """Add the numbers `first..last`; nothing when `last < first`."""
        if last < first:
            return
        lasts = self._lasts
        if lasts and first == lasts[-1] + 1:
            lasts[-1] = last
            return
        start = bisect_left(lasts, first - 1)
        end = bisect_right(self._firsts, last + 1)
        if start < end:
            first = min(first, self._firsts[start])
            last = max(last, lasts[end - 1])
        self._firsts[start:end] = [first]
        lasts[start:end] = [last]

    def missing(self, first: int, last: int) -> list[Range]:
        """The parts of `first..last` that are not in the set, in order."""
        out = []
        at = bisect_left(self._lasts, first)
        while at < len(self._firsts) and self._firsts[at] <= last:
            if first < self._firsts[at]:
                out.append((first, self._firsts[at] - 1))
            first = self._lasts[at] + 1
            at += 1
        if first <= last:
            out.append((first, last))
        return out

    def common(self, first: int, last: int) -> list[Range]:
        """The parts of `first..last` that are in the set, in order."""
        out = []
        at = bisect_left(self._lasts, first)
        while at < len(self._firsts) and self._firsts[at] <= last:
            out.append((max(first, self._firsts[at]), min(last, self._lasts[at])))
            at += 1
        return out

    def gapless_end(self, start: int) -> int:
        """The first number from `start` on that is not in the set."""
        at = bisect_right(self._firsts, start) - 1
        return self._lasts[at] + 1 if at >= 0 and self._lasts[at] >= start else start

    def is_exactly(self, first: int, last: int) -> bool:
        """Whether the set is `first..last`, no more and no less (empty for `last < first`)."""
        if last < first:
            return not self._firsts
        return self._firsts == [first] and self._lasts == [last]
