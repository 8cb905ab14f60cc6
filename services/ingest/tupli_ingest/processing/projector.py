"""The catalogue projector: a thread that folds its topic, writes the rows and knows every verdict."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final

from tupli_ingest.core.catalog import Catalog, Erasure, Outcome, Verdict
from tupli_ingest.core.errors import LogUnavailable
from tupli_ingest.core.ports import (
    Checkpoints,
    DeadLetter,
    DeadLetters,
    EpisodeKey,
    EpisodeStore,
    LogReader,
    Row,
    Table,
)
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_ingest.processing.eraser import erase_deleted
from tupli_ingest.processing.worker import Worker
from tupli_schemas.events import CATALOG_TOPIC
from tupli_schemas.records import Record

READ_BYTES: Final = 4 * 1024 * 1024
WAIT_S: Final = 0.2


OnDeleted = Callable[[list[Erasure]], None]


class Projector(Worker):
    """Folds from the topic's start whenever the process starts: the state is a pure function of the topic.

    Rows that the store has already (up to the group's checkpoint) are not written again. A verdict is told
    only after its rows can be read. `limit` is that of `dead_letters`, where there is one.
    """

    def __init__(
        self,
        log: LogReader,
        checkpoints: Checkpoints,
        dead_letters: DeadLetters,
        store: EpisodeStore,
        generation: int,
        *,
        retry_max_s: float,
        limit: DeadLetterLimit | None = None,
    ) -> None:
        super().__init__("projector", retry_max_s=retry_max_s)
        self._limit = limit
        self.on_deleted: OnDeleted = lambda _erasures: None
        self.caught_up = False
        """Whether it has come to the topic's end since it started; known without asking the log."""
        self._reader = log
        self._checkpoints = checkpoints
        self._dead_letters = dead_letters
        self._store = store
        self._group = _group(generation)
        self._catalog = Catalog()
        self._next = self._seen = 0
        self._stored = checkpoints.checkpoint(self._group, CATALOG_TOPIC)
        self._between = threading.Lock()
        self._visible: dict[tuple[bytes, str], Verdict] = {}
        self._deleted: set[tuple[str, bytes, bytes]] = set()
        self._waiting: list[tuple[int, Future[None]]] = []
        self._waiting_lock = threading.Lock()

    @property
    def lag(self) -> int:
        """Commands that are not applied."""
        return self._reader.end(CATALOG_TOPIC) - self._next

    @property
    def behind(self) -> int:
        """Commands that were read and are not applied: told from memory, without asking the log."""
        return max(self._seen - self._next, 0)

    def knows_benchmark(self, benchmark: bytes) -> bool:
        """Whether the benchmark exists.

        Raises:
            LogUnavailable: Not as far as is known; but there are commands that are not applied yet.
        """
        if self._catalog.benchmark(benchmark) is not None:
            return True
        if self.lag > 0:
            raise LogUnavailable("the catalogue is being read")
        return self._catalog.benchmark(benchmark) is not None

    def applied(self, offset: int) -> "Future[None]":
        """Done when the command at this offset can be read by its caller."""
        future: Future[None] = Future()
        with self._waiting_lock:
            if self._next > offset:
                future.set_result(None)
            else:
                self._waiting.append((offset, future))
        return future

    def verdict(self, subject: bytes, command_id: str) -> Verdict | None:
        """What became of a command, if it is applied."""
        return self._visible.get((subject, command_id))

    def is_deleted(self, key: EpisodeKey) -> bool:
        """Whether an episode's rows are to be erased: its owner deleted it, or its benchmark was deleted."""
        if not self._deleted:
            return False
        return ("episode", key.episode, key.owner) in self._deleted or (
            ("benchmark", key.benchmark, b"") in self._deleted
        )

    def round(self) -> None:
        """Apply what has come, or wait for it."""
        with self._between:
            found = self._apply()
            self._commit()
        if not found:
            self.caught_up = True
            self._reader.wait(CATALOG_TOPIC, self._next, WAIT_S)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within, no command is applied."""
        with self._between:
            yield

    def fill(self, store: EpisodeStore) -> None:
        """Write all rows of the topic, folded anew, into another generation's store.

        Raises:
            Unavailable: Log or store do not answer; call again.
            Full: No space.
        """
        catalog, start = Catalog(), 0
        while records := self._read(start):
            _write(store, [catalog.apply(record) for record in records])
            start = records[-1].position.offset + 1

    def use(self, store: EpisodeStore, generation: int) -> None:
        """Go on with another generation's store, which `fill` has filled; only while `held`."""
        self._store = store
        self._group = _group(generation)
        self._stored = 0  # the next round commits

    def erase_all(self, store: EpisodeStore) -> None:
        """Erase everything from a store that was ever deleted."""
        erase_deleted(store, self.is_deleted, (), self._catalog.erasures())

    def _read(self, start: int) -> list[Record]:
        return self._reader.read(CATALOG_TOPIC, start, max_bytes=READ_BYTES)

    def _apply(self) -> bool:
        """Fold and write what the topic has from `_next` on; whether there was anything."""
        records = self.retry(lambda: self._read(self._next), "reading the log")
        if not records:
            return False
        self._seen = records[-1].position.offset + 1
        outcomes = [(record, self._catalog.apply(record)) for record in records]
        new = [(record, outcome) for record, outcome in outcomes if record.position.offset >= self._stored]
        self.retry(lambda: _write(self._store, [outcome for _, outcome in new]), "writing the catalogue")
        self._set_aside(
            [_letter(record, outcome) for record, outcome in new if outcome.verdict is None], len(new)
        )
        self._show([outcome for _, outcome in outcomes])
        self._advance(records[-1].position.offset + 1)
        return True

    def _set_aside(self, letters: list[DeadLetter], records: int) -> None:
        """Keep the letters of so many records that are new."""
        if self._limit is not None:
            self._limit.processed(records)
        if letters:
            self.retry(lambda: self._dead_letters.put(letters), "keeping dead letters")
        if self._limit is not None:
            self._limit.written()

    def _show(self, outcomes: Sequence[Outcome]) -> None:
        for verdict in (outcome.verdict for outcome in outcomes):
            if verdict is not None:
                self._visible[verdict.subject, verdict.command_id] = verdict
        erasures = [erasure for outcome in outcomes for erasure in outcome.erasures]
        for erasure in erasures:
            subject = erasure.subject if erasure.kind == "episode" else b""
            self._deleted.add((erasure.kind, erasure.id, subject))
        if erasures:
            self.on_deleted(erasures)

    def _advance(self, following: int) -> None:
        with self._waiting_lock:
            self._next = following
            done = [future for offset, future in self._waiting if offset < following]
            self._waiting = [(offset, future) for offset, future in self._waiting if offset >= following]
        for future in done:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def _commit(self) -> None:
        """Say how far the store is: after the commands are told, who need not wait for it."""
        if self._next > self._stored:
            self._checkpoints.commit(self._group, CATALOG_TOPIC, self._next)
            self._stored = self._next


def _group(generation: int) -> str:
    return f"catalog-g{generation}"


def _write(store: EpisodeStore, outcomes: Iterable[Outcome]) -> None:
    rows: dict[Table, list[Row]] = {}
    for outcome in outcomes:
        for table, row in outcome.rows:
            rows.setdefault(table, []).append(row)
    for table, some in rows.items():
        store.write_rows(table, some)


def _letter(record: Record, outcome: Outcome) -> DeadLetter:
    return DeadLetter(CATALOG_TOPIC, record.position, record.key, "undecodable", outcome.error)
