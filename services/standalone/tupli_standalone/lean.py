"""What the server keeps out of its process."""

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Final

UNUSED: Final = frozenset({"pandas"})


class _Refuse:
    """A finder that says of unused packages that they are not installed."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:  # noqa: ARG004 -- the import system's signature
        """None, for the next finder to look, or an error that importers of optional packages expect."""
        if name in UNUSED:
            raise ModuleNotFoundError(f"the server does without {name}", name=name)


def without_unused() -> None:
    """Refuse unused packages from now on.

    pyarrow imports pandas, where it is installed, with the first array that it converts: more than a second
    of somebody's first request, and 60 MB that nobody uses.
    """
    if not any(isinstance(finder, _Refuse) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Refuse())
