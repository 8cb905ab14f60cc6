"""A filter that keeps 1 % of 5 M steps, with unmerged duplicates, against `SELECT count()` with the same condition."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import fresh, server
from benchmarks.results import Result

COUNT = """
import sys, time
import chdb
from benchmarks.filters import duplicate, count
path, threshold = sys.argv[1:]
connection = chdb.connect(path)
table = duplicate(connection)
print(min(count(connection, table, float(threshold)) for _ in range(3)))
"""
THRESHOLD = 2.326  # of standard normal values 1 % are above


def measure(folder: Path, spool: Path) -> Iterator[Result]:
    """The server is stopped while the duplicates are written and the bare engine counts."""
    store = next(path for path in (folder / "server").iterdir() if path.name.startswith("store"))
    command = [sys.executable, "-c", COUNT, str(store), str(THRESHOLD)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    bare = float(done.stdout.splitlines()[-1])
    with server(folder) as running:
        for words, next_observation, limit in (
            ("", "plain", 2.0),
            (", with the next observation", "next", 4.0),
        ):
            ours = fresh("filtered", "big", str(THRESHOLD), next_observation, url=running.url, spool=spool)
            ratio = ours["seconds"] / bare
            name = f"1 % of 5 M steps{words}"
            yield Result(
                name,
                ours["seconds"],
                "s",
                f"count() {bare:.3g} s",
                ratio,
                f"<= {limit:g} x count()",
                ratio <= limit,
            )


def duplicate(connection: Any) -> str:
    """Write a fifth of the largest step table again, as a later repetition, and keep it from being merged."""
    query = connection.query
    table = (
        query(
            "SELECT database || '.' || table FROM system.parts WHERE active AND table LIKE 'steps_%' "
            "GROUP BY database, table ORDER BY sum(rows) DESC LIMIT 1",
            "TabSeparated",
        )
        .data()
        .strip()
    )
    query(f"ALTER TABLE {table} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1")
    for part in range(4):
        query(
            f"INSERT INTO {table} SELECT * REPLACE (offset + 1000000000 AS offset, [reward] AS o0) FROM {table} "
            f"WHERE NOT is_final AND cityHash64(episode) % 20 = {part}"
        )
    return str(table)


def count(connection: Any, table: str, threshold: float) -> float:
    """Seconds that the engine takes to count, with the settings that our queries have."""
    query = connection.query
    start = time.perf_counter()
    query(
        f"SELECT count() FROM {table} FINAL WHERE NOT is_final AND o0[4] > {threshold} AND benchmark IN "
        f"(SELECT benchmark FROM {table} GROUP BY benchmark ORDER BY count() DESC LIMIT 1) SETTINGS max_threads = 1, "
        "optimize_move_to_prewhere_if_final = 0, use_skip_indexes_if_final_exact_mode = 1"
    )
    return time.perf_counter() - start
