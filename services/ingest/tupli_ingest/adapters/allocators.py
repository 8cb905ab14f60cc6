"""Memory that was freed, given back to the system: allocators keep it for later, and it counts as ours."""

import ctypes
import os
from collections.abc import Callable
from functools import cache
from typing import Final

import pyarrow as pa

ARENAS: Final = 2
MAPPED_BYTES: Final = 1024 * 1024
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of glibc's malloc.h


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


def have_few_arenas() -> None:
    """Have glibc keep what is freed in few places; to be called before a process starts threads.

    It has up to eight arenas a core, each of which keeps what its threads once had, whoever needs it next. What the
    environment says (`MALLOC_ARENA_MAX`) stays.
    """
    _set("MALLOC_ARENA_MAX", _M_ARENA_MAX, ARENAS)


def keep_little_free_memory() -> None:
    """Have glibc and Arrow keep less of what is freed; to be called before a process starts threads.

    Records are taken from the C library by one thread and let go of by another: a worker that held 200 MiB had 1.7 GB
    resident (measured). What is mapped for itself costs its pages each time, which a server that streams would feel.
    Arrow's own allocator keeps beside it what every thread's columns once had: taken from the C library, they cost a
    worker no time, and a rebuild's peak was 0.67 GB instead of 0.81 to 0.97. What the environment says
    (`MALLOC_ARENA_MAX`, `MALLOC_MMAP_THRESHOLD_`, `ARROW_DEFAULT_MEMORY_POOL`) stays.
    """
    have_few_arenas()
    _set("MALLOC_MMAP_THRESHOLD_", _M_MMAP_THRESHOLD, MAPPED_BYTES)
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
        pa.set_memory_pool(pa.system_memory_pool())


def _set(variable: str, option: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None and variable not in os.environ:
        mallopt(option, value)
