"""Which allocators a process takes from, each in one of its own (servers run on Linux)."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ARENAS_OF_THREADS = """
import ctypes, sys, threading
from tupli_ingest.adapters import allocators
if sys.argv[1]:
    getattr(allocators, sys.argv[1])()
threads, kept = 8, []
all_run = threading.Barrier(threads)
def take():
    kept.append(bytes(100_000))
    all_run.wait()
running = [threading.Thread(target=take) for _ in range(threads)]
[one.start() for one in running], [one.join() for one in running]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(out := libc.fopen(sys.argv[2].encode(), b"w")))
libc.fclose(ctypes.c_void_p(out))
print(open(sys.argv[2]).read().count("<heap nr="))
"""


@pytest.mark.parametrize(
    ("how", "more", "fits"),
    [
        ("keep_little_free_memory", {}, lambda arenas: arenas <= 2),
        ("have_few_arenas", {}, lambda arenas: arenas <= 2),
        ("", {}, lambda arenas: arenas > 2),
        ("have_few_arenas", {"MALLOC_ARENA_MAX": "5"}, lambda arenas: 2 < arenas <= 5),
    ],
    ids=["a worker's", "tupli up's", "by default", "the environment's"],
)
def test_threads_share_arenas(
    how: str, more: dict[str, str], fits: Callable[[int], bool], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ARENAS_OF_THREADS, how, str(tmp_path / "info.xml")],
        env=os.environ | more,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert fits(int(done.stdout))


ARROWS_POOL = """
import sys
import pyarrow
from tupli_ingest.adapters import allocators
getattr(allocators, sys.argv[1])()
print(pyarrow.default_memory_pool().backend_name)
"""


@pytest.mark.parametrize(
    ("how", "more", "fits"),
    [
        ("keep_little_free_memory", {}, lambda pool: pool == "system"),
        ("have_few_arenas", {}, lambda pool: pool != "system"),
        (
            "keep_little_free_memory",
            {"ARROW_DEFAULT_MEMORY_POOL": "mimalloc"},
            lambda pool: pool == "mimalloc",
        ),
    ],
    ids=["a worker's", "tupli up's", "the environment's"],
)
def test_a_worker_has_arrow_take_from_the_c_library(
    how: str, more: dict[str, str], fits: Callable[[str], bool]
) -> None:
    env = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"} | more
    done = subprocess.run(
        [sys.executable, "-c", ARROWS_POOL, how],
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert fits(done.stdout.strip())
