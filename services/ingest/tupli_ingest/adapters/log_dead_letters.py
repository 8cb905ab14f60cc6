"""Dead letters in a topic of the log: each once, under a limit."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import orjson

from tupli_ingest.core.meters import NO_METER, Meter
from tupli_ingest.core.ports import OUR_FAULT, DeadLetter, KeptLetter
from tupli_schemas.events import DEAD_LETTERS_TOPIC
from tupli_schemas.ids import LOCAL_SUBJECT
from tupli_schemas.records import Envelope, NewRecord, Position, Record

Identity = tuple[str, Position, str]
_READ_BYTES: Final = 8 * 1024 * 1024


class LetterLog(Protocol):
    """The log, as a thread uses it."""

    def append_now(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """See `EventLog.append`."""
        ...

    def read(self, topic: str, start: int, *, max_bytes: int, max_records: int = 10_000) -> list[Record]:
        """See `LogReader.read`."""
        ...

    def end(self, topic: str) -> int:
        """See `LogReader.end`."""
        ...


class Limit(Protocol):
    """How many letters of ours are kept before somebody must look."""

    def check(self, letters: int) -> None:
        """Raise `TooManyDeadLetters` where so many more would pass the limit; asked again at each attempt."""
        ...

    def count(self, letters: int) -> None:
        """So many more are kept."""
        ...


class LogDeadLetters:
    """`DeadLetters` as records of `tupli.dead-letters.v1`.

    The limit is about letters that cannot be a caller's doing, because the gateway has checked what it accepted.
    A caller who appends to another's stream, or has a thousand kinds of observations, must not be able to stop
    the processor.
    """

    def __init__(
        self, log: LetterLog, *, limit: Limit, now_ms: Callable[[], int], meter: Meter = NO_METER
    ) -> None:
        self._log = log
        self._meter = meter
        self._limit = limit
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._kept: set[Identity] = set()
        self._next = 0

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """See `DeadLetters.put`."""
        with self._lock:
            self._catch_up()
            new = {identity_of(letter): letter for letter in letters}
            new = {identity: letter for identity, letter in new.items() if identity not in self._kept}
            if not new:
                return
            ours = sum(letter.code in OUR_FAULT for letter in new.values())
            self._limit.check(ours)
            self._log.append_now(DEAD_LETTERS_TOPIC, [self._record(letter) for letter in new.values()])
            self._limit.count(ours)
            for code, letters_of_it in Counter(letter.code for letter in new.values()).items():
                self._meter.kept_dead_letters(code, letters_of_it)
            self._catch_up()

    def read(self, after: int | None = None, max_records: int = 1_000) -> list[DeadLetter]:
        """See `DeadLetters.read`."""
        return [kept.letter for kept in self.entries(after, max_records)]

    def entries(self, after: int | None = None, max_records: int = 1_000) -> list[KeptLetter]:
        """See `KeptLetters.entries`; an index is an offset in the topic."""
        start = 0 if after is None else after + 1
        records = self._log.read(DEAD_LETTERS_TOPIC, start, max_bytes=_READ_BYTES, max_records=max_records)
        return [KeptLetter(one.position.offset, one.envelope.received_at, _letter(one)) for one in records]

    def newest(self) -> int | None:
        """See `KeptLetters.newest`."""
        end = self._log.end(DEAD_LETTERS_TOPIC)
        return end - 1 if end else None

    def _catch_up(self) -> None:
        """Learn which letters the topic has."""
        while records := self._log.read(DEAD_LETTERS_TOPIC, self._next, max_bytes=_READ_BYTES):
            self._kept.update(identity_of(_letter(record)) for record in records)
            self._next = records[-1].position.offset + 1

    def _record(self, letter: DeadLetter) -> NewRecord:
        head: dict[str, Any] = {
            "topic": letter.topic,
            "position": [letter.position.generation, letter.position.partition, letter.position.offset],
            "code": letter.code,
            "reason": letter.reason,
        }
        envelope = Envelope(event="DeadLetter", version=1, subject=LOCAL_SUBJECT, received_at=self._now_ms())
        raw = orjson.dumps(head)
        return NewRecord(letter.key, envelope, len(raw).to_bytes(4, "little") + raw + letter.payload)


def identity_of(letter: DeadLetter) -> Identity:
    """What makes two letters one."""
    return letter.topic, letter.position, letter.code


def _letter(record: Record) -> DeadLetter:
    size = int.from_bytes(record.payload[:4], "little")
    head = orjson.loads(record.payload[4 : 4 + size])
    return DeadLetter(
        topic=head["topic"],
        position=Position(*head["position"]),
        key=record.key,
        code=head["code"],
        reason=head["reason"],
        payload=record.payload[4 + size :],
    )
