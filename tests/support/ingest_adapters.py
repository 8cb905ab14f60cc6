"""The adapters of the ports of ingest: each contract suite runs over all of its list."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Protocol

from tupli_ingest.adapters.chdb_client import ChdbClient
from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryLog, MemoryStore
from tupli_ingest.adapters.sqlite_dead_letters import SqliteDeadLetters
from tupli_ingest.adapters.sqlite_log import SqliteLog
from tupli_ingest.core.errors import TooManyDeadLetters
from tupli_ingest.core.ports import Checkpoints, DeadLetters, EpisodeStore, EventLog, LogReader


class WholeLog(EventLog, LogReader, Checkpoints, Protocol):
    """All sides of a log."""


LogFactory = Callable[[Path], AbstractContextManager[WholeLog]]
StoreFactory = Callable[[Path], AbstractContextManager[Callable[[], EpisodeStore]]]
DeadLettersFactory = Callable[[Path, int], AbstractContextManager[DeadLetters]]


@contextmanager
def memory_log(folder: Path) -> Iterator[WholeLog]:
    yield MemoryLog()


@contextmanager
def sqlite_log(folder: Path) -> Iterator[WholeLog]:
    log = SqliteLog(folder / "log.sqlite3")
    yield log
    log.close()


@contextmanager
def memory_stores(folder: Path) -> Iterator[Callable[[], EpisodeStore]]:
    yield MemoryStore


@contextmanager
def chdb_stores(folder: Path) -> Iterator[Callable[[], EpisodeStore]]:
    """Each store is a new generation beside the serving one."""
    client = ChdbClient(folder / "store")
    generations = Generations(client)
    numbers = count(10)
    yield lambda: generations.open(next(numbers))
    client.close()


@contextmanager
def memory_dead_letters(folder: Path, limit: int) -> Iterator[DeadLetters]:
    yield MemoryDeadLetters(limit=limit)


@contextmanager
def sqlite_dead_letters(folder: Path, limit: int) -> Iterator[DeadLetters]:
    kept = [0]

    def check(new: int) -> None:
        if kept[0] + new > limit:
            raise TooManyDeadLetters("too many")
        kept[0] += new

    log = SqliteLog(folder / "log.sqlite3")
    yield SqliteDeadLetters(log, limit=check, now_ms=lambda: 0)
    log.close()


LOGS: Sequence[LogFactory] = [memory_log, sqlite_log]
STORES: Sequence[StoreFactory] = [memory_stores, chdb_stores]
DEAD_LETTERS: Sequence[DeadLettersFactory] = [memory_dead_letters, sqlite_dead_letters]
