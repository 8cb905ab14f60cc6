"""Flat forms: transitions one after the other, with flags that say where one must not be joined to the next."""

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def breaks(episode: Ints, step: Ints) -> Bools:
    """Which rows are not followed by the next step of their episode."""
    if not len(step):
        return np.zeros(0, bool)
    follows = (episode[1:] == episode[:-1]) & (step[1:] == step[:-1] + 1)
    return np.append(~follows, True)


def flat_flags(episode: Ints, step: Ints, terminated: Bools) -> tuple[Bools, Bools]:
    """(terminals, timeouts): terminals are the terminated steps; every other break is a timeout.

    The rows after a break belong to something else (another episode, or a later part of the same one with
    steps left out), so that a timeout stands on the last kept row before it unless it is terminal.
    """
    return terminated, breaks(episode, step) & ~terminated
