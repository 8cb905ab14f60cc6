"""The event log in Apache Kafka: an idempotent producer, acks=all, keys that keep a stream in one partition.

A request's records are not one transaction. When `append` raises, some of them may be kept: whoever sends
them again sends all of them, and repetition is told by number (`core.assembler`), not by where it stands.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    KafkaStorageError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from aiokafka.structs import RecordMetadata

from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.core.errors import LogUnavailable, Overloaded
from tupli_schemas.events import MAX_EVENT_BYTES
from tupli_schemas.records import NewRecord, Position

MAX_REQUEST_BYTES: Final = MAX_EVENT_BYTES + 64 * 1024
"""An event with its envelope; the topic's `max.message.bytes` is the same."""
LOG_GENERATION: Final = 1
RECONNECT_S: Final = 0.5
MAX_RECONNECT_S: Final = 10.0
"""The pauses between attempts to reach the brokers grow from the one to the other."""


@dataclass(frozen=True, slots=True)
class ProducerLimits:
    """Bytes that may be on their way at once, bytes of one batch, and how long a batch gathers."""

    in_flight_bytes: int = 128 * 1024 * 1024
    batch_bytes: int = 1024 * 1024
    linger_ms: int = 2


class KafkaLog:
    """`EventLog` over Kafka topics; used on one event loop, between `start` and `stop`.

    The producer is made anew after a failure that it does not survive (a sequence that the broker does not
    know any more, a fenced epoch, refused credentials); what it had not sent by then is refused, and sent
    again by whoever waits for it. Once there was such a failure, or `start` failed, it goes on trying to
    connect by itself until `stop`: who sends only where `is_writable` says so would wait for ever.
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
        self._making = asyncio.Lock()
        self._reconnecting: asyncio.Task[None] | None = None
        self._closing = False
        self._log = structlog.get_logger("tupli_ingest.kafka_log")
        self.in_flight_bytes = 0

    async def start(self) -> None:
        """Connect.

        Raises:
            LogUnavailable: No broker answers yet; it is tried again in the background.
        """
        try:
            await self._connected()
        except LogUnavailable:
            self._reconnect()
            raise

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """See `EventLog.append`. Records of one key stand in one partition, in this order.

        Raises:
            Overloaded: Too many bytes are on their way already; nothing was kept.
            LogUnavailable: The brokers do not answer; some of the records may have been kept.
        """
        if not records:
            return []
        values = [record.to_bytes() for record in records]
        size = sum(map(len, values))
        if self.in_flight_bytes and self.in_flight_bytes + size > self._limits.in_flight_bytes:
            raise Overloaded("too much is on its way to the log")
        return await self._send(topic, [record.key for record in records], values)

    def is_writable(self) -> bool:
        """Whether there is a producer, and room for what comes."""
        return self._producer is not None and self.in_flight_bytes < self._limits.in_flight_bytes

    async def stop(self) -> None:
        """Send what is on its way, then disconnect."""
        self._closing = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.wait([self._reconnecting])
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _send(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes]) -> list[Position]:
        producer, named = await self._connected(), self._connection.named(topic)
        with translated():
            try:
                coming = []
                for key, value in zip(keys, values, strict=True):
                    coming.append(self._counted(await producer.send(named, value, key=key), len(value)))
                kept = await _all(coming)
            except (KafkaError, AssertionError) as error:
                await self._judge(producer, error)
                raise
        return [Position(self._generation, one.partition, one.offset) for one in kept]

    def _counted(
        self, coming: "asyncio.Future[RecordMetadata]", size: int
    ) -> "asyncio.Future[RecordMetadata]":
        """Count a record as on its way until its future is done, whether its sender still waits or not."""

        def done(_: object) -> None:
            self.in_flight_bytes -= size

        self.in_flight_bytes += size
        coming.add_done_callback(done)
        return coming

    async def _connected(self) -> AIOKafkaProducer:
        async with self._making:
            self._refuse_when_closing()
            if self._producer is None:
                made = await self._made()
                try:
                    self._refuse_when_closing()
                except LogUnavailable:
                    await made.stop()
                    raise
                self._producer = made
            return self._producer

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise LogUnavailable("the log is closing")

    def _reconnect(self) -> None:
        """Go on trying in the background, unless that is under way."""
        if not self._closing and (self._reconnecting is None or self._reconnecting.done()):
            self._reconnecting = asyncio.create_task(self._until_connected())

    async def _until_connected(self) -> None:
        delay, told = RECONNECT_S, ""
        while self._producer is None:
            try:
                await self._connected()
            except Exception as error:  # noqa: BLE001 -- the edge of the task: only another attempt can heal it
                if str(error) != told:
                    told = str(error)
                    self._log.warning("the log does not answer yet", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(delay)
                delay = min(2 * delay, MAX_RECONNECT_S)
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
        """Give up a producer that will not recover by itself."""
        if isinstance(error, (MessageSizeTooLargeError, RecordListTooLargeError)):
            return
        async with self._making:
            if self._producer != producer:
                return  # another request has seen to it
            self._producer = None
        self._reconnect()
        self._log.warning("the producer is made anew", error=f"{type(error).__name__}: {error}")
        with contextlib.suppress(KafkaError, OSError):  # it is broken; its futures tell what it still had
            await producer.stop()


async def _all(coming: Sequence["asyncio.Future[RecordMetadata]"]) -> list[RecordMetadata]:
    """The answers; when one failed, its error, after all of them are done."""
    kept: list[RecordMetadata] = []
    for answer in await asyncio.gather(*coming, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
        kept.append(answer)
    return kept


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn Kafka's errors into the port's."""
    try:
        yield
    except KafkaStorageError as error:
        raise LogUnavailable("a broker cannot write its log") from error
    except (KafkaError, OSError, AssertionError) as error:
        raise LogUnavailable(f"the log does not answer ({type(error).__name__})") from error
