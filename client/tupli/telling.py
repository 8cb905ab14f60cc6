"""Warnings that point at the user's line, and never end a run."""

import sys
import warnings
from typing import Final

from tupli.errors import TupliWarning

_BETWEEN: Final = ("tupli", "gymnasium")
"""Packages whose frames stand between what is told and the line that it is about."""


def tell(message: str) -> None:
    """Warn at the nearest line that is neither ours nor Gymnasium's; on a thread of ours, at none of the user's.

    Where warnings are errors nothing is raised: a step must not fail for it, and on a thread nobody could
    catch it.
    """
    try:
        warnings.warn(message, TupliWarning, stacklevel=_level())
    except TupliWarning:
        return


def _level() -> int:
    """The stack level of that line, seen from `tell`."""
    frame, level = sys._getframe(1), 1  # noqa: SLF001 -- as the standard library's warnings do
    while (back := frame.f_back) is not None:
        frame, level = back, level + 1
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == "threading":
            return 1
        if package not in _BETWEEN:
            return level
    return 1
