"""The adapters of the ports of ingest: each contract suite runs over all of its list."""

import asyncio
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Protocol

from support.clickhouse_process import any_clickhouse
from support.kafka_broker import shared_broker
from tupli_ingest.adapters.chdb_client import ChdbClient
from tupli_ingest.adapters.clickhouse_client import ClickHouseClient
from tupli_ingest.adapters.clickhouse_store import StoreClient
from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_reader import ThreadLog
from tupli_ingest.adapters.kafka_topics import TopicPlan, create_topics_now
from tupli_ingest.adapters.log_dead_letters import LogDeadLetters
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryLog, MemoryStore
from tupli_ingest.adapters.sqlite_log import SqliteLog
from tupli_ingest.core.errors import TooManyDeadLetters
from tupli_ingest.core.ports import (
    Checkpoints,
    DeadLetters,
    EpisodeStore,
    EventLog,
    KeptLetters,
    LogReader,
)
from tupli_schemas.records import NewRecord, Position


class WholeLog(EventLog, LogReader, Checkpoints, Protocol):
    """All sides of a log."""


class KeptDeadLetters(DeadLetters, KeptLetters, Protocol):
    """Both sides of the dead letters."""


LogFactory = Callable[[Path], AbstractContextManager[WholeLog]]
StoreFactory = Callable[[Path], AbstractContextManager[Callable[[], EpisodeStore]]]
DeadLettersFactory = Callable[[Path, int], AbstractContextManager[KeptDeadLetters]]


@contextmanager
def memory_log(folder: Path) -> Iterator[WholeLog]:
    yield MemoryLog()


@contextmanager
def sqlite_log(folder: Path) -> Iterator[WholeLog]:
    log = SqliteLog(folder / "log.sqlite3")
    yield log
    log.close()


class KafkaWhole(ThreadLog):
    """All sides of the log in Kafka, for any event loop."""

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        done = asyncio.run_coroutine_threadsafe(self.log.append(topic, records), self._loop)
        return await asyncio.wrap_future(done)


def kafka_connection() -> KafkaConnection:
    """The session's broker, with topics of one partition that nobody else has."""
    connection = KafkaConnection(brokers=shared_broker(), topic_prefix=f"{uuid.uuid4().hex}.")
    create_topics_now(connection, TopicPlan(partitions=1, replication=1, min_insync_replicas=1))
    return connection


@contextmanager
def kafka_log(folder: Path) -> Iterator[WholeLog]:
    log = KafkaWhole(kafka_connection())
    yield log
    log.close()


@contextmanager
def memory_stores(folder: Path) -> Iterator[Callable[[], EpisodeStore]]:
    yield MemoryStore


def new_generations(client: StoreClient) -> Callable[[], EpisodeStore]:
    """Each store is a new generation beside the serving one."""
    generations = Generations(client)
    generations.migrate()
    numbers = count(10)

    def new() -> EpisodeStore:
        number = next(numbers)
        generations.make(number)
        return generations.open(number)

    return new


@contextmanager
def chdb_stores(folder: Path) -> Iterator[Callable[[], EpisodeStore]]:
    """In process."""
    client = ChdbClient(folder / "store")
    yield new_generations(client)
    client.close()


@contextmanager
def http_stores(folder: Path) -> Iterator[Callable[[], EpisodeStore]]:
    """The same over HTTP."""
    with any_clickhouse(folder / "store") as connection:
        client = ClickHouseClient(connection)
        yield new_generations(client)
        client.close()


@contextmanager
def memory_dead_letters(folder: Path, limit: int) -> Iterator[KeptDeadLetters]:
    yield MemoryDeadLetters(limit=limit)


@contextmanager
def sqlite_dead_letters(folder: Path, limit: int) -> Iterator[KeptDeadLetters]:
    log = SqliteLog(folder / "log.sqlite3")
    yield LogDeadLetters(log, limit=LetterLimit(limit), now_ms=lambda: 0)
    log.close()


@contextmanager
def kafka_dead_letters(folder: Path, limit: int) -> Iterator[KeptDeadLetters]:
    log = ThreadLog(kafka_connection())
    yield LogDeadLetters(log, limit=LetterLimit(limit), now_ms=lambda: 0)
    log.close()


class LetterLimit:
    """Allows so many letters."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def check(self, letters: int) -> None:
        if letters > self._left:
            raise TooManyDeadLetters("too many")

    def count(self, letters: int) -> None:
        self._left -= letters


LOGS: Sequence[LogFactory] = [memory_log, sqlite_log, kafka_log]
STORES: Sequence[StoreFactory] = [memory_stores, chdb_stores, http_stores]
DEAD_LETTERS: Sequence[DeadLettersFactory] = [memory_dead_letters, sqlite_dead_letters, kafka_dead_letters]
