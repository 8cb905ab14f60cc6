"""The reading side of the log in Apache Kafka, for threads: whole records by offset, and positions of groups.

Consumers are assigned by hand and join no group: nobody is rebalanced because somebody looks. They live on
an event loop of their own, on a thread of their own.
"""

import asyncio
import contextlib
import threading
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, TopicPartition

from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_log import LOG_GENERATION, KafkaLog, translated
from tupli_ingest.core.errors import LogUnavailable
from tupli_schemas.direct import sealed_record, stored_partition
from tupli_schemas.events import DIRECT_TOPIC, EPISODES_TOPIC
from tupli_schemas.records import NewRecord, Position, Record

T = TypeVar("T")
CALL_SECONDS: Final = 60.0
FETCH_BYTES: Final = 4 * 1024 * 1024
LOG_APPEND_TIME: Final = 1
"""The type of a timestamp that is the broker's own."""
FETCH_SECONDS: Final = 10.0
"""For so long a fetch of what is known to be there is waited for."""


class KafkaReader:
    """`LogReader` and `Checkpoints` over one partition; used by any number of threads until `close`."""

    def __init__(
        self, connection: KafkaConnection, *, partition: int = 0, generation: int = LOG_GENERATION
    ) -> None:
        self._connection = connection
        self._partition = partition
        self._generation = generation
        self._topics: dict[str, _Partition] = {}
        self._groups: dict[str, AIOKafkaConsumer] = {}
        self._making: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """One for each topic and group: who connects for one does not hold up the others."""
        self._closing = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kafka-reader", daemon=True)
        self._thread.start()

    def read(self, topic: str, start: int, *, max_bytes: int, max_records: int = 10_000) -> list[Record]:
        """See `LogReader.read`. What is no record of ours has `error` set."""

        async def run(partition: "_Partition") -> list[ConsumerRecord]:
            return await partition.read(start, max_bytes, max_records)

        return [record_of(topic, one, self._generation) for one in self._on(topic, run)]

    def end(self, topic: str) -> int:
        """See `LogReader.end`."""
        return self._on(topic, _Partition.end)

    def wait(self, topic: str, offset: int, timeout: float) -> bool:
        """See `LogReader.wait`."""

        async def run(partition: "_Partition") -> bool:
            return await partition.wait(offset, timeout)

        return self._on(topic, run, patience=timeout)

    def checkpoint(self, group: str, topic: str) -> int:
        """See `Checkpoints.checkpoint`."""

        async def run() -> int:
            consumer = await self._group(group, topic)
            return int(await consumer.committed(self._place(topic)) or 0)

        return self._call(run())

    def commit(self, group: str, topic: str, next_offset: int) -> None:
        """See `Checkpoints.commit`. The group must have no members."""

        async def run() -> None:
            consumer = await self._group(group, topic)
            await consumer.commit({self._place(topic): next_offset})

        self._call(run())

    def close(self) -> None:
        """Disconnect; nothing may be asked any more."""

        async def run() -> None:
            self._closing = True
            for consumer in [*(one.consumer for one in self._topics.values()), *self._groups.values()]:
                with contextlib.suppress(KafkaError, OSError):  # it may have lost its broker
                    await consumer.stop()

        try:
            self._call(run())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _on(self, topic: str, ask: "Callable[[_Partition], Awaitable[T]]", patience: float = 0.0) -> T:
        async def run() -> T:
            async with self._making[topic]:
                partition = self._topics.get(topic)
                if partition is None:
                    consumer = await self._made(group=None)
                    partition = self._topics[topic] = _Partition(consumer, self._place(topic))
            async with partition.lock:
                return await ask(partition)

        return self._call(run(), patience)

    def _place(self, topic: str) -> TopicPartition:
        return TopicPartition(self._connection.named(topic), self._partition)

    async def _group(self, group: str, topic: str) -> AIOKafkaConsumer:
        name, key = group_id(self._connection, group, topic), f"{group} of {topic}"
        async with self._making[key]:
            if key not in self._groups:
                consumer = self._groups[key] = await self._made(group=name)
                consumer.assign([self._place(topic)])
            return self._groups[key]

    async def _made(self, *, group: str | None) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **self._connection.options(),
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=500,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        try:
            await consumer.start()
            self._refuse_when_closing()  # it was asked to meanwhile: nobody else would stop this one
        except BaseException:
            await consumer.stop()
            raise
        return consumer

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise LogUnavailable("the log is closing")

    def _call(self, work: Coroutine[Any, Any, T], patience: float = 0.0) -> T:
        with translated():
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            try:
                return future.result(CALL_SECONDS + patience)
            except TimeoutError:
                future.cancel()
                raise


class ThreadLog(KafkaReader):
    """A log that threads can write to as well: what the processors say, a few records at a time."""

    def __init__(self, connection: KafkaConnection, *, generation: int = LOG_GENERATION) -> None:
        super().__init__(connection, generation=generation)
        self.log = KafkaLog(connection, generation=generation)

    def append_now(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """See `EventLog.append`."""
        return self._call(self.log.append(topic, records))

    def close(self) -> None:
        """Send what is on its way, and disconnect."""
        try:
            self._call(self.log.stop())
        finally:
            super().close()


class _Partition:
    """One partition of a topic, and what was fetched of it and not taken yet."""

    def __init__(self, consumer: AIOKafkaConsumer, place: TopicPartition) -> None:
        self.consumer = consumer
        self.lock = asyncio.Lock()
        self._place = place
        self._next = -1
        self._fetched: deque[ConsumerRecord] = deque()
        consumer.assign([place])

    async def end(self) -> int:
        ends = await self.consumer.end_offsets([self._place])
        return int(ends[self._place])

    async def read(self, start: int, max_bytes: int, max_records: int) -> list[ConsumerRecord]:
        self._seek(start)
        if not self._fetched and await self.end() <= start:
            return []
        until = time.monotonic() + FETCH_SECONDS
        while not self._fetched:
            await self._fetch(0.2)
            if not self._fetched and time.monotonic() > until:
                raise LogUnavailable("the log does not give what it has")
        taken: list[ConsumerRecord] = []
        size = 0
        while self._fetched and len(taken) < max_records and size < max_bytes:
            taken.append(self._fetched.popleft())
            size += len(taken[-1].value or b"")
        self._next = taken[-1].offset + 1
        return taken

    async def wait(self, offset: int, patience: float) -> bool:
        self._seek(offset)
        if not self._fetched:
            await self._fetch(patience)
        return bool(self._fetched)

    def _seek(self, offset: int) -> None:
        if offset != self._next:
            self._fetched.clear()
            self.consumer.seek(self._place, offset)
            self._next = offset

    async def _fetch(self, patience: float) -> None:
        answer = await self.consumer.getmany(self._place, timeout_ms=max(int(patience * 1_000), 1))
        self._fetched.extend(answer.get(self._place, ()))


def group_id(connection: KafkaConnection, group: str, topic: str) -> str:
    """The name of a group at the brokers: one for each topic, for members of one would disturb the other.

    The two topics of streams have the same members, and one group.
    """
    return connection.named(f"{group}.{EPISODES_TOPIC if topic == DIRECT_TOPIC else topic}")


class Found(Protocol):
    """A record as a consumer gives it; `timestamp` in Unix milliseconds."""

    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None


def record_of(topic: str, found: Found, generation: int) -> Record:
    """A record of what a consumer gives; `error` is set for what is none of ours, or has not been judged."""
    position = Position(generation, stored_partition(topic, found.partition), found.offset)
    key, value = found.key or b"", found.value or b""
    if topic != DIRECT_TOPIC:
        return Record.read(position, key, value)
    is_the_brokers = found.timestamp_type == LOG_APPEND_TIME
    return sealed_record(position, key, value, found.timestamp if is_the_brokers else None)
