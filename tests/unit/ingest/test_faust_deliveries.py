"""Deliveries are handed over one after the other while the next is gathered, and nothing follows one that failed."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tupli_ingest.adapters import faust_engine
from tupli_ingest.adapters.faust_engine import FaustEngine, GroupLimits
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.core.errors import Bug, Stopped


def message(generation: int, number: int, size: int = 1) -> Any:
    return SimpleNamespace(generation_id=generation, number=number, found=SimpleNamespace(size=size))


class Puts:
    """An engine whose deliveries are put when they may be."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        kafka = KafkaConnection(brokers="127.0.0.1:1")
        self.engine = cast("Any", FaustEngine(kafka, "g1", lambda *_: None, on_end=self.ended.append))
        self.engine._put_whole = self._put
        self.begun: list[int] = []
        self.heard = threading.Semaphore(0)
        self.may_go_on = threading.Semaphore(0)
        self.error: BaseException | None = None

    def _put(self, _: int, messages: list[Any]) -> None:
        self.begun += [message.number for message in messages]
        self.heard.release()
        assert self.may_go_on.acquire(timeout=10)
        if self.error is not None:
            raise self.error

    def deliver(self, number: int) -> "asyncio.Task[None]":
        self.engine._loop = asyncio.get_running_loop()
        event = SimpleNamespace(message=message(1, number))
        return asyncio.create_task(self.engine._deliver([event]))

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.heard.acquire, timeout=10)

    async def two(self) -> "asyncio.Task[None]":
        """The second, while the first is put."""
        await self.deliver(1)
        await self.has_begun()
        second = self.deliver(2)
        await asyncio.sleep(0)
        return second


def test_the_next_is_gathered_while_one_is_put() -> None:
    puts = Puts()

    async def run() -> None:
        second = await puts.two()
        assert not second.done()  # one may be put, and one gathered: no more
        puts.may_go_on.release()
        await second
        await puts.has_begun()
        puts.may_go_on.release()

    asyncio.run(run())
    assert puts.begun == [1, 2]
    assert puts.ended == []


@pytest.mark.parametrize(("error", "told"), [(Bug("a hole"), ["Bug: a hole"]), (Stopped(), [])])
def test_nothing_follows_one_that_failed(error: BaseException, told: list[str]) -> None:
    puts = Puts()
    puts.error = error

    async def run() -> None:
        second = await puts.two()
        puts.may_go_on.release()
        done, _ = await asyncio.wait((second,), timeout=0.2)
        assert not done  # Faust would count as processed what an agent is done with
        second.cancel()

    asyncio.run(run())
    assert puts.begun == [1]
    assert puts.ended == told


def test_who_is_cancelled_while_one_is_put_cancels_none() -> None:
    puts = Puts()

    async def run() -> None:
        second = await puts.two()
        second.cancel()
        await asyncio.wait((second,))
        puts.may_go_on.release()
        await puts.has_begun()
        puts.may_go_on.release()

    asyncio.run(run())
    assert puts.begun == [1, 2]


def test_what_is_put_at_once_is_of_one_generation_and_not_too_large() -> None:
    messages = [
        message(1, 1),
        message(1, 2, 50),
        message(1, 3, 49),
        message(2, 4),
        message(2, 5, 200),
        message(2, 6),
    ]
    found: Any = faust_engine._puts([SimpleNamespace(message=one) for one in messages], 100)
    assert [(generation, [one.number for one in put]) for generation, put in found] == [
        (1, [1, 2, 3]),
        (2, [4, 5]),
        (2, [6]),
    ]


def test_a_request_may_take_as_long_as_a_session() -> None:
    """A gateway that is to give up early shares its settings with workers."""
    kafka = KafkaConnection(brokers="127.0.0.1:1", request_timeout_ms=1_000)
    limits = GroupLimits.of_session(20.0)
    engine = cast("Any", FaustEngine(kafka, "g1", lambda *_: None, limits=limits, on_end=print))
    assert engine._app.conf.broker_request_timeout == limits.session_s
