"""What every log promises: order, durability on return as readers see it, offsets, waiting, checkpoints."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ingest_adapters import LOGS, LogFactory, WholeLog
from tupli_schemas.events import CATALOG_TOPIC, EPISODES_TOPIC
from tupli_schemas.ids import LOCAL_SUBJECT
from tupli_schemas.records import Envelope, NewRecord, Position


@pytest.fixture(params=LOGS, ids=lambda factory: factory.__name__)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WholeLog]:
    factory: LogFactory = request.param
    with factory(tmp_path) as made:
        yield made


def record(number: int, size: int = 10) -> NewRecord:
    envelope = Envelope(event="E", version=1, subject=LOCAL_SUBJECT, received_at=number, client="c")
    return NewRecord(bytes([number]) * 16, envelope, bytes([number]) * size)


def append(log: WholeLog, *numbers: int, topic: str = EPISODES_TOPIC) -> list[Position]:
    return asyncio.run(log.append(topic, [record(number) for number in numbers]))


def payloads(log: WholeLog, start: int = 0, *, max_bytes: int = 2**20, max_records: int = 100) -> list[int]:
    found = log.read(EPISODES_TOPIC, start, max_bytes=max_bytes, max_records=max_records)
    return [one.payload[0] for one in found]


def test_what_was_appended_is_read_as_it_was(log: WholeLog) -> None:
    positions = append(log, 1, 2)
    first, second = log.read(EPISODES_TOPIC, 0, max_bytes=2**20)
    assert [first.position, second.position] == positions
    assert (first.key, first.envelope, first.payload) == (
        record(1).key,
        record(1).envelope,
        record(1).payload,
    )
    assert second.payload == record(2).payload


def test_offsets_grow_and_start_at_zero(log: WholeLog) -> None:
    offsets = [position.offset for position in [*append(log, 1), *append(log, 2, 3), *append(log, 4)]]
    assert offsets[0] == 0
    assert offsets == sorted(set(offsets))
    assert log.end(EPISODES_TOPIC) == offsets[-1] + 1
    assert [one.position.offset for one in log.read(EPISODES_TOPIC, 0, max_bytes=2**20)] == offsets


def test_an_empty_log_and_an_empty_append(log: WholeLog) -> None:
    assert log.end(EPISODES_TOPIC) == 0
    assert log.read(EPISODES_TOPIC, 0, max_bytes=100) == []
    assert append(log) == []
    assert log.end(EPISODES_TOPIC) == 0


def test_reading_starts_where_it_is_told(log: WholeLog) -> None:
    positions = append(log, 1, 2, 3)
    assert payloads(log, positions[1].offset) == [2, 3]
    assert payloads(log, positions[2].offset + 1) == []


def test_reading_is_bounded_but_never_stuck(log: WholeLog) -> None:
    append(log, *range(1, 10))
    assert payloads(log, max_records=3) == [1, 2, 3]
    assert payloads(log, max_bytes=1) == [1]
    assert 1 <= len(payloads(log, max_bytes=500)) <= 9


def test_topics_are_apart(log: WholeLog) -> None:
    append(log, 1)
    append(log, 2, topic=CATALOG_TOPIC)
    assert payloads(log) == [1]
    assert log.read(CATALOG_TOPIC, 0, max_bytes=100)[0].position.offset == 0


def test_racing_appends_are_all_kept_whole(log: WholeLog) -> None:
    async def race() -> list[list[Position]]:
        calls = [log.append(EPISODES_TOPIC, [record(n), record(n)]) for n in range(1, 30)]
        return await asyncio.gather(*calls)

    positions = asyncio.run(race())
    read = log.read(EPISODES_TOPIC, 0, max_bytes=2**20)
    where = {one.position: one.payload[0] for one in read}
    assert len(read) == 58
    for number, (first, second) in enumerate(positions, start=1):
        assert (where[first], where[second]) == (number, number)
        assert first.offset < second.offset


def test_waiting_ends_when_there_is_something_and_at_its_time(log: WholeLog) -> None:
    assert not log.wait(EPISODES_TOPIC, 0, 0.01)
    timer = threading.Timer(0.05, lambda: append(log, 1))
    timer.start()
    assert log.wait(EPISODES_TOPIC, 0, 10)
    timer.join()
    assert payloads(log) == [1]
    assert not log.wait(EPISODES_TOPIC, 1, 0)


def test_checkpoints_are_kept_by_group_and_topic(log: WholeLog) -> None:
    assert log.checkpoint("g1", EPISODES_TOPIC) == 0
    log.commit("g1", EPISODES_TOPIC, 7)
    log.commit("g1", EPISODES_TOPIC, 9)
    log.commit("g2", EPISODES_TOPIC, 3)
    append(log, 1)
    assert log.checkpoint("g1", EPISODES_TOPIC) == 9
    assert log.checkpoint("g2", EPISODES_TOPIC) == 3
    assert log.checkpoint("g1", CATALOG_TOPIC) == 0
