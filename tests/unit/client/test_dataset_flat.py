"""Flags of flat forms, against the words of the definition."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from tupli.datasets.flat import flat_flags


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.booleans()), max_size=12))
@settings(max_examples=50)
def test_every_break_has_exactly_one_flag(rows: list[tuple[int, int, bool]]) -> None:
    rows = sorted(set(rows))
    episode, step, terminated = (np.array([row[i] for row in rows]) for i in range(3))
    terminals, timeouts = flat_flags(episode.astype(np.int64), step.astype(np.int64), terminated.astype(bool))
    for i, row in enumerate(rows):
        follows = i + 1 < len(rows) and rows[i + 1][:2] == (row[0], row[1] + 1)
        assert bool(terminals[i]) == row[2]
        assert bool(timeouts[i]) == (not follows and not row[2])


def test_a_truncation_is_a_timeout_and_no_terminal() -> None:
    terminals, timeouts = flat_flags(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([False, False, True]))
    assert terminals.tolist() == [False, False, True]
    assert timeouts.tolist() == [False, True, False]
