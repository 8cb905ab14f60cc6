"""What the user is told while something runs."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from tupli.errors import TupliWarning


@contextmanager
def telling() -> Iterator[list[str]]:
    """The recorder's warnings, of any thread; the list is filled when the block is left."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", TupliWarning)
        try:
            yield told
        finally:
            told += [str(one.message) for one in seen if isinstance(one.message, TupliWarning)]
