"""The producing side beside brokers that were away: it heals by itself, until it is closed."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from tupli_ingest.adapters import kafka_log
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_log import KafkaLog, ProducerLimits
from tupli_ingest.core.errors import LogUnavailable
from tupli_schemas.records import Envelope, NewRecord

RECORD = NewRecord(b"k" * 16, Envelope(event="E", version=1, subject=b"s" * 16, received_at=0), b"")


class Producer:
    """Never sends."""

    def __init__(self) -> None:
        self.is_stopped = False

    async def send(self, *_: object, **__: object) -> None:
        raise KafkaTimeoutError

    async def stop(self) -> None:
        self.is_stopped = True


class Log(KafkaLog):
    """Its brokers refuse `refusals` connections, with what `failure` makes; `gate` holds up those they take."""

    def __init__(
        self,
        refusals: int = 0,
        failure: Callable[[], Exception] = KafkaConnectionError,
        patience_s: float = 3.0,
    ) -> None:
        limits = ProducerLimits(reconnect_s=0.001, max_reconnect_s=0.002, patience_s=patience_s)
        super().__init__(KafkaConnection(brokers="127.0.0.1:1"), limits=limits)
        self.refusals = refusals
        self.failure = failure
        self.made: list[Producer] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def _made(self) -> Any:
        await asyncio.sleep(0)
        if self.refusals:
            self.refusals -= 1
            with kafka_log.translated():
                raise self.failure()
        self.made.append(Producer())
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            await self.made[-1].stop()
            raise
        return self.made[-1]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- the log has no event for it
            await asyncio.sleep(0.001)


def test_after_a_failed_send_it_is_writable_again_without_another() -> None:
    async def run() -> None:
        log = Log()
        await log.start()
        log.refusals = 3
        with pytest.raises(LogUnavailable):
            await log.append("t", [RECORD])
        assert not log.is_writable()
        await until(log.is_writable)
        assert log.made[0].is_stopped
        await log.stop()
        assert all(one.is_stopped for one in log.made)

    asyncio.run(run())


@pytest.mark.parametrize("failure", [KafkaConnectionError, ValueError])
def test_after_a_failed_start_it_goes_on_trying(failure: Callable[[], Exception]) -> None:
    async def run() -> None:
        log = Log(refusals=1)
        with pytest.raises(LogUnavailable):
            await log.start()
        log.refusals, log.failure = 2, failure
        await until(log.is_writable)
        await log.stop()

    asyncio.run(run())


def test_a_stop_ends_the_attempts() -> None:
    async def run() -> None:
        log = Log(refusals=10**9)
        with pytest.raises(LogUnavailable):
            await log.start()
        await asyncio.sleep(0.01)
        await log.stop()
        left = log.refusals
        await asyncio.sleep(0.02)
        assert log.refusals == left
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_a_producer_that_is_being_made_at_the_stop_is_stopped() -> None:
    async def run() -> None:
        log = Log()
        log.gate.clear()
        starting = asyncio.create_task(log.start())
        await until(lambda: bool(log.made))
        await log.stop()
        with pytest.raises(LogUnavailable, match="closing"):
            await starting
        assert log.made[0].is_stopped
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_requests_do_not_wait_for_long_beside_brokers_that_hang() -> None:
    async def run() -> None:
        log = Log(patience_s=0.01)
        log.gate.clear()
        answers = await asyncio.wait_for(
            asyncio.gather(*(log.append("t", [RECORD]) for _ in range(20)), return_exceptions=True), 5
        )
        assert all(isinstance(answer, LogUnavailable) for answer in answers)
        assert len(log.made) == 1  # they shared the attempt
        log.gate.set()
        await until(log.is_writable)  # and it went on
        await log.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_an_append_that_found_no_broker_goes_on_trying() -> None:
    async def run() -> None:
        log = Log(refusals=3)
        with pytest.raises(LogUnavailable):
            await log.append("t", [RECORD])
        await until(log.is_writable)
        await log.stop()

    asyncio.run(run())


class Keeping(Producer):
    """Keeps the headers of what it is given to send."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[object] = []

    async def send(self, *_: object, headers: object = None, **__: object) -> Any:
        self.headers.append(headers)
        kept: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        kept.set_result(SimpleNamespace(partition=0, offset=len(self.headers)))
        return kept


def test_records_take_their_place_in_a_trace_along_and_nothing_where_there_is_none() -> None:
    async def run() -> list[object]:
        log, producer = Log(), Keeping()
        log._producer = cast("Any", producer)
        await log.append("topic", [RECORD])
        log.traceparent = lambda: "00-1-2-01"
        await log.append("topic", [RECORD, RECORD])
        await log.stop()
        return producer.headers

    place = [("traceparent", b"00-1-2-01")]
    assert asyncio.run(run()) == [None, place, place]
