"""Dead letters in a topic of the log: each once, under a limit."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import orjson

from tupli_ingest.core.meters import NO_METER, Meter
from tupli_ingest.core.ports import OUR_FAULT, DeadLetter, KeptLetter
from tupli_schemas.events import DEAD_LETTERS_TOPIC, MAX_EVENT_BYTES
from tupli_schemas.ids import LOCAL_SUBJECT
from tupli_schemas.records import Envelope, NewRecord, Position, Record

Identity = tuple[str, Position, str]
MAX_REASON: Final = 8_192
MAX_KEY: Final = 128
"""Of a key that does not fit; ours have 16 bytes."""
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

    Several processes read the catalogue, and each may keep a letter before it sees the others': the first in the topic
    is the letter, the others are not told and not counted.

    A letter has its record's payload where the topic takes both; of a larger one (whoever writes straight to Kafka may
    fill a record as far as its topic allows, also with its key) the log has the rest.
    """

    def __init__(
        self, log: LetterLog, *, limit: Limit, now_ms: Callable[[], int], meter: Meter = NO_METER
    ) -> None:
        self._log = log
        self._meter = meter
        self._limit = limit
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._first: dict[Identity, int] = {}
        self._next = 0

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """See `DeadLetters.put`."""
        with self._lock:
            self._catch_up()
            new = {identity_of(letter): letter for letter in letters}
            new = {identity: letter for identity, letter in new.items() if identity not in self._first}
            if not new:
                return
            ours = sum(letter.code in OUR_FAULT for letter in new.values())
            self._limit.check(ours)
            places = self._log.append_now(DEAD_LETTERS_TOPIC, [self._record(one) for one in new.values()])
            self._limit.count(ours)
            self._catch_up()
            first = zip(new.items(), places, strict=True)
            counted = [one.code for (identity, one), place in first if self._first[identity] == place.offset]
            for code, letters_of_it in Counter(counted).items():
                self._meter.kept_dead_letters(code, letters_of_it)

    def read(self, after: int | None = None, max_records: int = 1_000) -> list[DeadLetter]:
        """See `DeadLetters.read`."""
        return [kept.letter for kept in self.entries(after, max_records)]

    def entries(self, after: int | None = None, max_records: int = 1_000) -> list[KeptLetter]:
        """See `KeptLetters.entries`; an index is an offset in the topic."""
        start = 0 if after is None else after + 1
        with self._lock:
            self._catch_up()
        while records := self._log.read(
            DEAD_LETTERS_TOPIC, start, max_bytes=_READ_BYTES, max_records=max_records
        ):
            found = [
                KeptLetter(one.position.offset, one.envelope.received_at, _letter(one)) for one in records
            ]
            if first := [one for one in found if self._is_first(one)]:
                return first
            start = records[-1].position.offset + 1
        return []

    def newest(self) -> int | None:
        """See `KeptLetters.newest`."""
        end = self._log.end(DEAD_LETTERS_TOPIC)
        return end - 1 if end else None

    def _catch_up(self) -> None:
        """Learn which letters the topic has."""
        while records := self._log.read(DEAD_LETTERS_TOPIC, self._next, max_bytes=_READ_BYTES):
            for record in records:
                self._first.setdefault(identity_of(_letter(record)), record.position.offset)
            self._next = records[-1].position.offset + 1

    def _is_first(self, kept: KeptLetter) -> bool:
        """Whether no other process had kept it before; one that came just now was not looked for yet."""
        return self._first.get(identity_of(kept.letter), kept.index) == kept.index

    def _record(self, letter: DeadLetter) -> NewRecord:
        size = len(letter.key) + len(letter.payload)
        too_large = f" ({size} bytes, which the log alone has)" if size > MAX_EVENT_BYTES else ""
        head: dict[str, Any] = {
            "topic": letter.topic,
            "position": [letter.position.generation, letter.position.partition, letter.position.offset],
            "code": letter.code,
            "reason": letter.reason[:MAX_REASON] + too_large,
        }
        envelope = Envelope(event="DeadLetter", version=1, subject=LOCAL_SUBJECT, received_at=self._now_ms())
        raw = orjson.dumps(head)
        key, payload = (letter.key[:MAX_KEY], b"") if too_large else (letter.key, letter.payload)
        return NewRecord(key, envelope, len(raw).to_bytes(4, "little") + raw + payload)


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
