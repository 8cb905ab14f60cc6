"""Memory that was freed, given back to the system: allocators keep it for later, and it counts as ours."""

import ctypes
from collections.abc import Callable
from functools import cache

import pyarrow as pa


def release_free_memory() -> None:
    """Give back what Arrow and the C library keep, in one or two milliseconds."""
    pa.default_memory_pool().release_unused()
    if (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Glibc's function, which frees the GIL; other C libraries have none."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
