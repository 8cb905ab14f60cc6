"""Brokers that fall silent: an idempotent producer would wait for them without an end, and nobody may wait with it."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import RecordMetadata

from tupli_ingest.adapters import kafka_log
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_log import KafkaLog, ProducerLimits
from tupli_ingest.core.errors import LogUnavailable, Overloaded
from tupli_schemas.records import Envelope, NewRecord, Position

RECORD = NewRecord(b"k" * 16, Envelope(event="E", version=1, subject=b"s" * 16, received_at=0), b"")
KEPT = RecordMetadata("t", 2, None, 7, 0, 0, 0)


class Producer:
    """What it was told to send is answered by who sets `coming`; it stops when all of that is done."""

    def __init__(self) -> None:
        self.coming: list[asyncio.Future[RecordMetadata]] = []
        self.closed: list[str] = []
        self._message_accumulator = SimpleNamespace(fail_all=self._fail_all)
        self._sender = SimpleNamespace(close=lambda: self._close("sender"))
        self.client = SimpleNamespace(close=lambda: self._close("client"))

    async def send(self, *_: object, **__: object) -> "asyncio.Future[RecordMetadata]":
        self.coming.append(asyncio.get_running_loop().create_future())
        return self.coming[-1]

    async def stop(self) -> None:
        if self.coming:
            await asyncio.wait(self.coming)

    def _fail_all(self, error: Exception) -> None:
        for one in self.coming:
            if not one.done():
                one.set_exception(error)

    async def _close(self, part: str) -> None:
        self.closed.append(part)


class Log(KafkaLog):
    def __init__(self, limits: ProducerLimits | None = None) -> None:
        super().__init__(KafkaConnection(brokers="127.0.0.1:1", request_timeout_ms=20), limits=limits)
        self.producer = Producer()

    async def _made(self) -> Any:
        return self.producer


def test_who_is_not_answered_in_time_is_told_and_everybody_after_at_once() -> None:
    async def run() -> None:
        log = Log()
        await log.start()
        with pytest.raises(LogUnavailable, match="in time"):
            await log.append("t", [RECORD])
        assert not log.is_writable()
        for _ in range(3):
            with pytest.raises(LogUnavailable):
                await log.append("t", [RECORD])
        (waiting,) = log.producer.coming
        assert log.in_flight_bytes > 0
        waiting.set_result(KEPT)
        await asyncio.sleep(0)
        assert log.is_writable()
        assert log.in_flight_bytes == 0
        again = asyncio.create_task(log.append("t", [RECORD]))
        await asyncio.sleep(0.001)
        log.producer.coming[-1].set_result(KEPT)
        assert await again == [Position(kafka_log.LOG_GENERATION, 2, 7)]
        await log.stop()

    asyncio.run(run())


def test_what_waits_for_room_at_the_producer_counts_as_on_its_way() -> None:
    """aiokafka holds up `send` while the batch of a partition is full."""

    class Full(Producer):
        async def send(self, *_: object, **__: object) -> "asyncio.Future[RecordMetadata]":
            await asyncio.sleep(3_600)
            return await super().send()

    async def run() -> None:
        size = len(RECORD.to_bytes())
        log = Log(limits=ProducerLimits(in_flight_bytes=3 * size))
        log.producer = Full()
        await log.start()
        waiting = [asyncio.create_task(log.append("t", [RECORD])) for _ in range(3)]
        await asyncio.sleep(0.001)
        assert log.in_flight_bytes == 3 * size
        assert not log.is_writable()
        with pytest.raises(Overloaded):
            await log.append("t", [RECORD])
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)
        assert log.in_flight_bytes == 0

    asyncio.run(run())


def test_a_stop_beside_silent_brokers_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_log, "FLUSH_S", 0.01)

    async def run() -> None:
        log = Log()
        await log.start()
        with pytest.raises(LogUnavailable):
            await log.append("t", [RECORD])
        async with asyncio.timeout(10):
            await log.stop()
        await asyncio.sleep(0)  # the futures tell
        assert log.producer.closed == ["client", "sender"]
        assert log.in_flight_bytes == 0

    asyncio.run(run())
