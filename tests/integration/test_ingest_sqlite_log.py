"""The SQLite log: durability, order, bounds, a full disk, another process."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tupli_ingest.adapters.sqlite_log import LogLimits, SqliteLog
from tupli_ingest.core.errors import LogFull, LogUnavailable, Overloaded
from tupli_schemas.events import CATALOG_TOPIC, EPISODES_TOPIC
from tupli_schemas.ids import LOCAL_SUBJECT
from tupli_schemas.records import Envelope, NewRecord

ENVELOPE = Envelope(event="E", version=1, subject=LOCAL_SUBJECT, received_at=1)


def record(payload: bytes) -> NewRecord:
    return NewRecord(b"key", ENVELOPE, payload)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    log = SqliteLog(tmp_path / "log.db", limits=LogLimits(reserve_bytes=0))
    yield log
    log.close()


def test_records_come_back_in_order_from_offset_0(log: SqliteLog) -> None:
    first = asyncio.run(log.append(EPISODES_TOPIC, [record(b"a"), record(b"b")]))
    asyncio.run(log.append(CATALOG_TOPIC, [record(b"other")]))
    second = asyncio.run(log.append(EPISODES_TOPIC, [record(b"c")]))
    assert [p.offset for p in (*first, *second)] == [0, 1, 2]
    found = log.read(EPISODES_TOPIC, 0, max_bytes=1 << 20)
    assert [(r.position.offset, r.payload, r.key) for r in found] == [
        (0, b"a", b"key"),
        (1, b"b", b"key"),
        (2, b"c", b"key"),
    ]
    assert [r.payload for r in log.read(EPISODES_TOPIC, 2, max_bytes=1)] == [b"c"]
    assert log.end(EPISODES_TOPIC) == 3
    assert log.end(CATALOG_TOPIC) == 1


def test_a_read_is_bounded_by_bytes_and_gives_at_least_one(log: SqliteLog) -> None:
    asyncio.run(log.append(EPISODES_TOPIC, [record(bytes(1_000))] * 5))
    assert len(log.read(EPISODES_TOPIC, 0, max_bytes=1)) == 1
    assert len(log.read(EPISODES_TOPIC, 0, max_bytes=2_500)) == 3
    assert len(log.read(EPISODES_TOPIC, 0, max_bytes=1 << 20, max_records=2)) == 2


def test_it_goes_on_where_it_was_after_opening_again(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    asyncio.run(log.append(EPISODES_TOPIC, [record(b"a")]))
    log.commit("g1", EPISODES_TOPIC, 1)
    identity = log.identity
    log.close()
    again = SqliteLog(tmp_path / "log.db")
    assert asyncio.run(again.append(EPISODES_TOPIC, [record(b"b")]))[0].offset == 1
    assert (again.checkpoint("g1", EPISODES_TOPIC), again.checkpoint("g2", EPISODES_TOPIC)) == (1, 0)
    assert (again.identity, again.generation) == (identity, 1)
    again.close()
    with pytest.raises(LogUnavailable):
        asyncio.run(again.append(EPISODES_TOPIC, [record(b"c")]))


def test_a_full_disk_keeps_nothing_and_recovers(tmp_path: Path) -> None:
    free = [10_000_000]
    log = SqliteLog(tmp_path / "log.db", limits=LogLimits(reserve_bytes=1_000), free=lambda _path: free[0])
    asyncio.run(log.append(EPISODES_TOPIC, [record(b"a")]))
    free[0] = 500
    with pytest.raises(LogFull):
        asyncio.run(log.append(EPISODES_TOPIC, [record(b"b")]))
    assert not log.writable()
    free[0] = 10_000_000
    assert asyncio.run(log.append(EPISODES_TOPIC, [record(b"c")]))[0].offset == 1
    assert [r.payload for r in log.read(EPISODES_TOPIC, 0, max_bytes=1 << 20)] == [b"a", b"c"]
    log.close()


def test_sqlite_saying_full_keeps_nothing_and_recovers(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db", limits=LogLimits(reserve_bytes=0))
    asyncio.run(log.append(EPISODES_TOPIC, [record(b"a")]))
    log._connection.execute("PRAGMA max_page_count = 12")
    with pytest.raises(LogFull):
        asyncio.run(log.append(EPISODES_TOPIC, [record(b"x"), record(bytes(1 << 20))]))
    log._connection.execute("PRAGMA max_page_count = 1000000")
    assert asyncio.run(log.append(EPISODES_TOPIC, [record(b"c")]))[0].offset == 1
    assert [r.payload for r in log.read(EPISODES_TOPIC, 0, max_bytes=1 << 20)] == [b"a", b"c"]
    log.close()


def test_beyond_the_queue_it_is_overloaded(tmp_path: Path) -> None:
    gate = threading.Event()

    def wait_for_gate(_path: Path) -> int:
        gate.wait(10)
        return 1 << 40

    log = SqliteLog(tmp_path / "log.db", limits=LogLimits(queue_bytes=1_000), free=wait_for_gate)

    async def many() -> list[object]:
        waiting = [asyncio.ensure_future(log.append(EPISODES_TOPIC, [record(bytes(400))])) for _ in range(5)]
        await asyncio.sleep(0.05)
        gate.set()
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    answers = asyncio.run(many())
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 4
    assert log.end(EPISODES_TOPIC) == 1
    log.close()


def test_concurrent_appends_share_commits_and_are_all_there(log: SqliteLog) -> None:
    async def many() -> set[int]:
        answers = await asyncio.gather(
            *(log.append(EPISODES_TOPIC, [record(b"%d" % i), record(b"%d'" % i)]) for i in range(200))
        )
        assert all(second.offset == first.offset + 1 for first, second in answers)
        return {p.offset for answer in answers for p in answer}

    assert asyncio.run(many()) == set(range(400))
    assert len(log.read(EPISODES_TOPIC, 0, max_bytes=1 << 20)) == 400


def test_waiting_ends_with_the_next_record(log: SqliteLog) -> None:
    assert not log.wait(EPISODES_TOPIC, 0, 0.01)
    threading.Timer(0.05, lambda: log.append_now(EPISODES_TOPIC, [record(b"a")])).start()
    assert log.wait(EPISODES_TOPIC, 0, 10)


def test_what_was_acknowledged_outlives_kill_9(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from tupli_ingest.adapters.sqlite_log import SqliteLog
        from tupli_schemas.records import Envelope, NewRecord
        log = SqliteLog(Path(sys.argv[1]))
        envelope = Envelope(event="E", version=1, subject=bytes(16), received_at=1)
        async def main():
            for i in range(10**6):
                (p,) = await log.append("tupli.episodes.v1", [NewRecord(b"k", envelope, b"%d" % i)])
                print(p.offset, flush=True)
        asyncio.run(main())
        """
    )
    path = tmp_path / "log.db"
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(50)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [
            int(line) for line in process.stdout.read().splitlines(keepends=True) if line[-1:] == b"\n"
        ]
    log = SqliteLog(path)
    found = log.read(EPISODES_TOPIC, 0, max_bytes=1 << 30, max_records=1 << 20)
    assert [int(r.payload) for r in found] == [r.position.offset for r in found] == list(range(len(found)))
    assert len(found) >= len(acknowledged)
    log.close()


def test_what_was_written_is_not_held_until_the_next_append(log: SqliteLog) -> None:
    asyncio.run(log.append(EPISODES_TOPIC, [record(bytes(1_000))]))
    deadline = time.monotonic() + 5
    while held() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not held()


def held() -> list[object]:
    """Appends that something still refers to."""
    return [found for found in gc.get_objects() if type(found).__name__ == "_Append"]
