"""A worker that tells, when it ends, what its stages took: `python -m benchmarks.kafka_profile worker`.

Its functions are replaced by ones that count: seconds of the clock, and of the processor in the calling thread
(which waiting for the interpreter's lock is not); beside them stands what each thread used. The last line of its
output is a JSON object of stages: seconds of the clock, of the processor, calls.
"""

import functools
import importlib
import json
import sys
import threading
import time
from collections import defaultdict
from typing import Any, Final

import psutil

from tupli_ingest.__main__ import main

STAGES: Final = (
    ("Faust: record of a message", "tupli_ingest.adapters.faust_engine", "record_of"),
    ("decode: event and rows", "tupli_ingest.processing.block_writer", "decode_record"),
    ("put: decode, and wait for room", "tupli_ingest.processing.block_writer", "BlockWriter.put"),
    ("round: wait, fold, write", "tupli_ingest.processing.block_writer", "BlockWriter.round"),
    ("round: wait for records", "tupli_ingest.processing.block_writer", "BlockWriter._next_block"),
    ("fold: look up streams", "tupli_ingest.adapters.clickhouse_store", "ClickHouseStore.load_streams"),
    ("fold: all", "tupli_ingest.core.pipeline", "Pipeline.add_items"),
    ("flush: all", "tupli_ingest.core.pipeline", "Pipeline.flush"),
    ("flush: rows put together", "tupli_ingest.core.block", "Block.step_rows"),
    ("flush: info index", "tupli_ingest.core.block", "index_rows"),
    ("flush: steps written", "tupli_ingest.adapters.clickhouse_store", "ClickHouseStore.write_steps"),
    ("flush: headers made", "tupli_ingest.core.assembler", "Assembler.headers"),
    ("flush: small rows written", "tupli_ingest.adapters.clickhouse_store", "ClickHouseStore.write_rows"),
    ("flush: small rows to Arrow", "tupli_ingest.adapters.clickhouse_store", "rows_to_arrow"),
    ("insert: Arrow stream", "tupli_ingest.adapters.clickhouse_client", "write_stream"),
    ("insert: all", "tupli_ingest.adapters.clickhouse_client", "ClickHouseClient.insert"),
)
_lock: Final = threading.Lock()
_found: Final[dict[str, list[float]]] = defaultdict(lambda: [0.0, 0.0, 0])


def count(stage: str, module: str, path: str) -> None:
    """Replace a function by one that counts.

    Raises:
        AttributeError: There is none of this name.
    """
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    function = getattr(owner, name)

    @functools.wraps(function)
    def counted(*arguments: Any, **named: Any) -> Any:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return function(*arguments, **named)
        finally:
            took = time.perf_counter() - wall, time.thread_time() - cpu, 1
            with _lock:
                _found[stage] = [before + more for before, more in zip(_found[stage], took, strict=True)]

    setattr(owner, name, counted)


def watch_threads(ended: threading.Event) -> None:
    """Note twice a second what each thread has used: one that has ended cannot be asked."""
    process = psutil.Process()
    while not ended.wait(0.5):
        names = {thread.native_id: thread.name for thread in threading.enumerate()}
        used: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0])
        for one in process.threads():
            row = used[f"thread: {names.get(one.id, 'not of Python')}"]
            row[1] += one.user_time + one.system_time
            row[2] += 1
        with _lock:
            _found.update(used)


def run(arguments: list[str]) -> int:
    """As `python -m tupli_ingest`; the main thread's time is Faust's: fetching, delivering, acknowledging."""
    for stage in STAGES:
        count(*stage)
    ended = threading.Event()
    threads = threading.Thread(target=watch_threads, args=(ended,), name="profile", daemon=True)
    threads.start()
    began, used, all_used = time.perf_counter(), time.thread_time(), time.process_time()
    code = main(arguments)
    ended.set()
    threads.join()
    _found["main thread: Faust"] = [time.perf_counter() - began, time.thread_time() - used, 1]
    _found["process: all threads"] = [time.perf_counter() - began, time.process_time() - all_used, 1]
    sys.stdout.write(json.dumps(_found) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
