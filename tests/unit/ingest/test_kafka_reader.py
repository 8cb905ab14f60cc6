"""The reading side: topics do not wait for each other, and closing ends its thread whatever fails."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from tupli_ingest.adapters import kafka_reader
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_reader import ThreadLog
from tupli_ingest.core.errors import LogUnavailable

CONNECTION = KafkaConnection(brokers="127.0.0.1:1")


class Consumer:
    """Connects when `gate` opens, and says that each topic is empty."""

    made: list["Consumer"]
    gates: dict[str | None, asyncio.Event]

    def __init__(self, *, group_id: str | None, **_: object) -> None:
        self.group = group_id
        self.is_stopped = False
        self.made.append(self)

    async def start(self) -> None:
        gate = self.gates.get(self.group)
        if gate is not None:
            await gate.wait()

    async def stop(self) -> None:
        self.is_stopped = True

    def assign(self, _: object) -> None:
        """Nothing."""

    async def committed(self, _: TopicPartition) -> int | None:
        return 5

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)


@pytest.fixture(autouse=True)
def consumers(monkeypatch: pytest.MonkeyPatch) -> type[Consumer]:
    Consumer.made, Consumer.gates = [], {}
    monkeypatch.setattr(kafka_reader, "AIOKafkaConsumer", Consumer)
    return Consumer


def in_thread(ask: Callable[[], object]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(ask())
        except LogUnavailable as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def test_one_topic_that_does_not_connect_holds_up_no_other(consumers: type[Consumer]) -> None:
    log = ThreadLog(CONNECTION)
    gate = consumers.gates["g.slow"] = asyncio.Event()
    slow, found = in_thread(lambda: log.checkpoint("g", "slow"))
    while not consumers.made:
        slow.join(0.001)
    other, ends = in_thread(lambda: log.end("topic"))
    other.join(5)
    assert ends == [0]
    assert found == []
    log._loop.call_soon_threadsafe(gate.set)
    slow.join(5)
    assert found == [5]
    log.close()
    assert all(one.is_stopped for one in consumers.made)


def test_racing_questions_about_one_topic_share_a_consumer(consumers: type[Consumer]) -> None:
    log = ThreadLog(CONNECTION)
    gate = consumers.gates[None] = asyncio.Event()
    asking = [in_thread(lambda: log.end("topic")) for _ in range(4)]
    while not consumers.made:
        asking[0][0].join(0.001)
    log._loop.call_soon_threadsafe(gate.set)
    for thread, _ in asking:
        thread.join(5)
    assert [found for _, found in asking] == [[0]] * 4
    assert len(consumers.made) == 1
    log.close()


def test_a_consumer_that_connects_after_closing_began_is_stopped(consumers: type[Consumer]) -> None:
    log = ThreadLog(CONNECTION)
    gate = consumers.gates[None] = asyncio.Event()
    asking, found = in_thread(lambda: log.end("topic"))
    while not consumers.made:
        asking.join(0.001)
    log._closing = True
    log._loop.call_soon_threadsafe(gate.set)
    asking.join(5)
    assert "closing" in str(found[0])
    assert consumers.made[0].is_stopped
    log.close()


def test_a_producer_that_cannot_be_stopped_leaves_no_thread(consumers: type[Consumer]) -> None:
    log = ThreadLog(CONNECTION)
    assert log.end("topic") == 0

    async def stop() -> None:
        raise OSError("broken")

    log.log.stop = stop  # type: ignore[method-assign]  # of this one log
    with pytest.raises(LogUnavailable):
        log.close()
    assert not log._thread.is_alive()
    assert log._loop.is_closed()
    assert consumers.made[0].is_stopped


def test_consumers_that_cannot_be_stopped_leave_no_thread(
    consumers: type[Consumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stop(_: Consumer) -> None:
        raise ValueError("broken")

    log = ThreadLog(CONNECTION)
    assert log.end("topic") == 0
    monkeypatch.setattr(consumers, "stop", stop)
    with pytest.raises(ValueError, match="broken"):
        log.close()
    assert not log._thread.is_alive()
