"""The event log in Apache Kafka: an idempotent producer, acks=all, keys that keep a stream in one partition.

A request's records are not one transaction. When `append` raises, some of them may be kept: whoever sends
them again sends all of them, and repetition is told by number (`core.assembler`), not by where it stands.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaStorageError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from aiokafka.structs import RecordMetadata

from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.core.errors import LogUnavailable, Overloaded
from tupli_ingest.core.tracing import TRACEPARENT
from tupli_schemas.direct import stored_partition
from tupli_schemas.events import MAX_EVENT_BYTES
from tupli_schemas.records import NewRecord, Position

MAX_REQUEST_BYTES: Final = MAX_EVENT_BYTES + 64 * 1024
"""An event with its envelope; the topic's `max.message.bytes` is the same."""
TOO_SMALL: Final = f"set its `max.message.bytes` to {MAX_REQUEST_BYTES}, as `tupli admin create-topics` does"
LOG_GENERATION: Final = 1
FLUSH_S: Final = 5.0
"""For so long a producer that is given up may go on sending what it has."""


@dataclass(frozen=True, slots=True)
class ProducerLimits:
    """Bytes that may be on their way at once, bytes of one batch, and how long a batch gathers.

    The pauses between attempts to reach the brokers grow from `reconnect_s` to `max_reconnect_s`. A caller waits for
    `patience_s` for one, which goes on after that.
    """

    in_flight_bytes: int = 128 * 1024 * 1024
    batch_bytes: int = 1024 * 1024
    linger_ms: int = 2
    reconnect_s: float = 0.5
    max_reconnect_s: float = 10.0
    patience_s: float = 3.0


class KafkaLog:
    """`EventLog` over Kafka topics; used on one event loop, between `start` and `stop`.

    The producer is made anew after a failure that it does not survive (a sequence that the broker does not
    know any more, a fenced epoch, refused credentials); what it had not sent by then is refused, and sent
    again by whoever waits for it. Once there was such a failure, or `start` failed, it goes on trying to
    connect by itself until `stop`: who sends only where `is_writable` says so would wait for ever.

    An idempotent producer repeats what is not answered without an end. Here it is waited for as long as
    a request may take; until an answer comes, everything else is refused at once.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        limits: ProducerLimits | None = None,
        generation: int = LOG_GENERATION,
    ) -> None:
        self._connection = connection
        self._limits = limits or ProducerLimits()
        self._generation = generation
        self._producer: AIOKafkaProducer | None = None
        self._attempt: asyncio.Task[AIOKafkaProducer] | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self._closing = False
        self._is_silent = False
        """Whether somebody has waited for too long, and no answer has come since."""
        self._log = structlog.get_logger("tupli_ingest.kafka_log")
        self.in_flight_bytes = 0
        self.traceparent: Callable[[], str] = lambda: ""
        """Where in a trace an append stands: it goes with its records, as a header of them."""

    async def start(self) -> None:
        """Connect.

        Raises:
            LogUnavailable: No broker answers yet; it is tried again in the background.
        """
        await self._connected()

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """See `EventLog.append`. Records of one key stand in one partition, in this order.

        Raises:
            Overloaded: Too many bytes are on their way already; nothing was kept.
            LogUnavailable: The brokers do not answer; some of the records may have been kept.
        """
        if not records:
            return []
        if self._is_silent:
            raise LogUnavailable("the log does not answer")
        values = [record.to_bytes() for record in records]
        size = sum(map(len, values))
        if self.in_flight_bytes and self.in_flight_bytes + size > self._limits.in_flight_bytes:
            raise Overloaded("too much is on its way to the log")
        return await self._send(topic, [record.key for record in records], values)

    def is_writable(self) -> bool:
        """Whether there is a producer that is answered, and room for what comes."""
        has_producer = self._producer is not None and not self._is_silent
        return has_producer and self.in_flight_bytes < self._limits.in_flight_bytes

    async def stop(self) -> None:
        """Send what is on its way, for a while, then disconnect."""
        self._closing = True
        for task in (self._reconnecting, self._attempt):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        producer, self._producer = self._producer, None
        if producer is not None:
            await _end(producer)

    async def _send(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes]) -> list[Position]:
        producer = await self._connected()
        with translated():
            try:
                kept = await self._answers(await self._handed_over(producer, topic, keys, values))
            except (KafkaError, AssertionError) as error:
                await self._judge(producer, error)
                raise
        return [
            Position(self._generation, stored_partition(topic, one.partition), one.offset) for one in kept
        ]

    async def _handed_over(
        self, producer: Any, topic: str, keys: Sequence[bytes], values: Sequence[bytes]
    ) -> list["asyncio.Future[RecordMetadata]"]:
        """What the brokers will say to each. All count as on their way from here on: to hand over may wait for room."""
        named, place = self._connection.named(topic), self.traceparent()
        headers = [(TRACEPARENT, place.encode())] if place else None
        waiting = sum(map(len, values))
        self.in_flight_bytes += waiting
        coming = []
        try:
            for key, value in zip(keys, values, strict=True):
                sent = await producer.send(named, value, key=key, headers=headers)
                coming.append(self._counted(sent, len(value)))
                waiting -= len(value)
        finally:
            self.in_flight_bytes -= waiting
        return coming

    def _counted(
        self, coming: "asyncio.Future[RecordMetadata]", size: int
    ) -> "asyncio.Future[RecordMetadata]":
        """Let a record count as on its way until its future is done, whether its sender still waits or not."""

        def done(answer: "asyncio.Future[RecordMetadata]") -> None:
            self.in_flight_bytes -= size
            self._is_silent = False
            _is_told(answer)

        coming.add_done_callback(done)
        return coming

    async def _answers(self, coming: Sequence["asyncio.Future[RecordMetadata]"]) -> list[RecordMetadata]:
        """What the brokers say to each; when one failed, its error, after all of them are done.

        Raises:
            LogUnavailable: They do not say it in time; the records may be kept all the same.
        """
        _, late = await asyncio.wait(coming, timeout=self._connection.request_timeout_ms / 1_000)
        if late:
            self._is_silent = True
            raise LogUnavailable("the log does not answer in time")
        return [answer.result() for answer in coming]

    async def _connected(self) -> AIOKafkaProducer:
        """The producer. All who wait share one attempt, and none of them waits for long.

        Raises:
            LogUnavailable: There is none yet; it is tried again in the background.
        """
        if self._producer is not None:
            return self._producer
        attempt = self._under_way()
        await asyncio.wait({attempt}, timeout=self._limits.patience_s)
        if attempt.cancelled():
            raise LogUnavailable("the log is closing")
        if not attempt.done() or attempt.exception() is not None:
            self._reconnect()
        if not attempt.done():
            raise LogUnavailable("the log does not answer yet")
        return attempt.result()

    def _under_way(self) -> "asyncio.Task[AIOKafkaProducer]":
        """The attempt that is under way, or a new one."""
        if self._closing:
            raise LogUnavailable("the log is closing")
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.create_task(self._connect())
            self._attempt.add_done_callback(_is_told)
        return self._attempt

    async def _connect(self) -> AIOKafkaProducer:
        self._producer = await self._made()
        return self._producer

    def _reconnect(self) -> None:
        """Go on trying in the background, unless that is under way."""
        if not self._closing and (self._reconnecting is None or self._reconnecting.done()):
            self._reconnecting = asyncio.create_task(self._until_connected())

    async def _until_connected(self) -> None:
        delay, told = self._limits.reconnect_s, ""
        while self._producer is None:
            try:
                await self._connected()
            except Exception as error:  # noqa: BLE001 -- the edge of the task: only another attempt can heal it
                if str(error) != told:
                    told = str(error)
                    self._log.warning("the log does not answer yet", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(delay)
                delay = min(2 * delay, self._limits.max_reconnect_s)
        self._log.info("the log answers again")

    async def _made(self) -> AIOKafkaProducer:
        with translated():
            producer = AIOKafkaProducer(
                **self._connection.options(),
                enable_idempotence=True,
                acks="all",
                max_batch_size=self._limits.batch_bytes,
                max_request_size=MAX_REQUEST_BYTES,
                linger_ms=self._limits.linger_ms,
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
        return producer

    async def _judge(self, producer: Any, error: BaseException) -> None:
        """Give up a producer that will not recover by itself, nor from a batch that a broker finds too large.

        Aiokafka has counted that batch: brokers would refuse the next one as out of order.
        """
        if self._producer != producer:
            return  # another request has seen to it
        self._producer = None
        self._reconnect()
        self._log.warning("the producer is made anew", error=f"{type(error).__name__}: {error}")
        with contextlib.suppress(KafkaError, OSError):  # it is broken; its futures tell what it still had
            await _end(producer)


async def _end(producer: Any) -> None:
    """Stop a producer, which would wait for its brokers without an end; what it has not sent then fails."""
    try:
        async with asyncio.timeout(FLUSH_S):
            await producer.stop()
    except TimeoutError:
        producer._message_accumulator.fail_all(KafkaConnectionError("given up"))  # noqa: SLF001 -- aiokafka has no other way
        await producer.client.close()
        await producer._sender.close()  # noqa: SLF001 -- the same


def _is_told(attempt: "asyncio.Future[Any]") -> None:
    """Take note of why it failed, also where nobody waits for it any more."""
    if not attempt.cancelled():
        attempt.exception()


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn Kafka's errors into the port's."""
    try:
        yield
    except KafkaStorageError as error:
        raise LogUnavailable("a broker cannot write its log") from error
    except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
        raise LogUnavailable(f"the topic takes less at once than is sent: {TOO_SMALL}") from error
    except (KafkaError, OSError, AssertionError) as error:
        raise LogUnavailable(f"the log does not answer ({type(error).__name__})") from error
