"""What recorders send into the small world of `simulation`, and what plain Python makes of it."""

import random
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from support.ingest_streams import (
    BENCHMARK,
    OTHER_SUBJECT,
    SCHEMA,
    Item,
    RowItem,
    StreamOfItems,
    ended,
    new_record,
    started,
)
from support.simulation import ODD, Sent, World
from tupli_ingest.core.ports import NO_BENCHMARK
from tupli_schemas.events import EpisodeEnded, EpisodeStarted
from tupli_schemas.ids import LOCAL_SUBJECT, episode_id, make_id
from tupli_schemas.records import Position
from tupli_schemas.steps import Cell, Leaf, StepSchema

STREAMS: Final = tuple(make_id(1_700_000_000_000 + i, 7 + i) for i in range(3))
OTHER_SCHEMA: Final = StepSchema(
    observation=(Leaf("", Cell("f8")),), action=(Leaf("", Cell("i8")),), extra=()
)
SCHEMAS: Final = (SCHEMA, OTHER_SCHEMA, SCHEMA)
DAY_MS: Final = 86_400_000
Poison = Literal["empty", "noise", "cut", "no event", "another's key"]
POISON: Final[tuple[Poison, ...]] = ("empty", "noise", "cut", "no event", "another's key")


class Recorder:
    """A recording stream of some episodes, which come into the log as they are told to.

    `late_starts`: starts are withheld from what is sent, and come by themselves.
    """

    def __init__(
        self, world: World, number: int, seeded: random.Random, *, late_starts: bool = False
    ) -> None:
        self._late_starts = late_starts
        self.stream = STREAMS[number]
        self.partition = number % len(world.log)
        self.schema = SCHEMAS[number]
        self.items = _items(self.stream, self.schema, seeded)
        self.next = 1
        self.missing: list[tuple[int, int]] = []
        self._world = world

    def send(self, count: int, *, cut: int = 4, days: int = 0) -> None:
        """The next items, in one request."""
        first, last = self.next, min(self.next + count - 1, len(self.items))
        for number in range(first, last + 1):
            if self._late_starts and isinstance(self.items[number - 1], EpisodeStarted):
                self.request(first, number - 1, cut=cut, days=days)
                self.missing.append((number, number))
                first = number + 1
        self.request(first, last, cut=cut, days=days)
        self.next = last + 1

    def withhold(self, count: int) -> None:
        """The next items are sent later than those after them."""
        last = min(self.next + count - 1, len(self.items))
        if self.next <= last:
            self.missing.append((self.next, last))
        self.next = last + 1

    def arrive(self, which: int, *, cut: int = 4, days: int = 0) -> None:
        """Items that were withheld come."""
        if self.missing:
            self.request(*self.missing.pop(which % len(self.missing)), cut=cut, days=days)

    def repeat(
        self, first: int, count: int, *, cut: int = 4, days: int = 0, salt: int = 0, foreign: bool = False
    ) -> None:
        """Items of before, cut differently; `salt`: with other content; `foreign`: from another subject."""
        first = 1 + first % len(self.items)
        last = min(first + count - 1, self.next - 1)
        subject = OTHER_SUBJECT if foreign else LOCAL_SUBJECT
        self.request(first, last, cut=cut, days=days, salt=salt, subject=subject)

    def request(
        self, first: int, last: int, *, cut: int, days: int, salt: int = 0, subject: bytes = LOCAL_SUBJECT
    ) -> None:
        """Append the items `first..last`, as the gateway does."""
        items = [_salted(item, salt) for item in self.items]
        for event in StreamOfItems(self.stream, items, self.schema.layout).events(first, last, cut=cut):
            received_at = 10 * DAY_MS + len(self._world.sent) + days * DAY_MS
            record = new_record(event, subject=subject, received_at=received_at)
            held = {number: items[number - 1] for number in range(event.first, event.last + 1)}
            self._world.append(
                self.partition, record.key, record.to_bytes(), Sent(self.stream, subject, held)
            )

    def poison(self, kind: Poison) -> None:
        """Append what is no event of this stream."""
        record = new_record(self.items[0] if isinstance(self.items[0], EpisodeStarted) else started(1, 1))
        values = {
            "empty": b"",
            "noise": b"\xff" * 40,
            "cut": record.to_bytes()[:-7],
            "no event": replace(record, payload=b"{}").to_bytes(),
            "another's key": record.to_bytes(),
        }
        key = STREAMS[STREAMS.index(self.stream) - 1] if kind == "another's key" else self.stream
        self._world.append(self.partition, key, values[kind], Sent(self.stream, LOCAL_SUBJECT, {}))


def _items(stream: bytes, schema: StepSchema, seeded: random.Random) -> list[Item]:
    """One to three episodes, interleaved as those of a vector environment are."""
    queues = []
    for ordinal in range(1, seeded.randint(1, 3) + 1):
        steps, final = seeded.randint(0, 5), seeded.random() < 0.5
        queue: list[Item] = [started(1, ordinal, stream=stream, step_schema=schema)]
        infos = [ODD if seeded.random() < 0.02 else b"{}" for _ in range(steps)]
        queue += [RowItem(ordinal, step, info=info) for step, info in enumerate(infos)]
        if final:
            queue.append(RowItem(ordinal, steps, is_final=True))
        if seeded.random() < 0.7:
            aborted = seeded.random() < 0.3
            queue.append(ended(1, ordinal, steps, stream=stream, has_final=final, aborted=aborted))
        queues.append(queue)
    items = []
    while queues:
        queue = seeded.choice(queues)
        taken = seeded.randint(1, 4)
        items += queue[:taken]
        del queue[:taken]
        queues = [one for one in queues if one]
    return items


def _salted(item: Item, salt: int) -> Item:
    if isinstance(item, RowItem):
        return replace(item, info=b'{"salt":%d}' % salt) if salt else item
    return replace(item, seed=1_000 + salt) if salt and isinstance(item, EpisodeStarted) else item


@dataclass
class Plain:
    """What plain Python knows of one episode."""

    start: EpisodeStarted | None = None
    end: EpisodeEnded | None = None
    rows: dict[int, tuple[RowItem, Position]] = field(default_factory=dict)
    conflict: bool = False

    @property
    def benchmark(self) -> bytes:
        return BENCHMARK if self.start else NO_BENCHMARK

    @property
    def prefix(self) -> int:
        whole = next(step for step in range(100) if step not in self.rows)
        return whole - any(row.is_final and row.step < whole for row, _ in self.rows.values())

    @property
    def status(self) -> str:
        steps = set(self.rows)
        if self.conflict:
            return "conflict"
        if self.start and self.end and steps == set(range(self.end.n_steps + self.end.has_final)):
            return "aborted" if self.end.aborted else "terminated"
        return "incomplete" if not self.start or self.end or steps != set(range(len(steps))) else "open"


@dataclass
class Told:
    """What plain Python makes of a log, one item after another: sets and dictionaries, no ranges, no blocks."""

    episodes: dict[tuple[bytes, int], Plain] = field(default_factory=dict)
    dead: set[tuple[Position, str]] = field(default_factory=set)

    @staticmethod
    def by(world: World) -> "Told":
        """What the log of this world tells."""
        told = Told()
        owners: dict[bytes, bytes] = {}
        came: dict[tuple[bytes, int], Item] = {}
        for records in world.log:
            for record in records:
                position, sent = record.position, world.sent[record.position]
                if not sent.items:
                    told.dead.add((position, "undecodable"))
                elif owners.setdefault(sent.stream, sent.subject) != sent.subject:
                    told.dead.add((position, "foreign_owner"))
                else:
                    for number, item in sent.items.items():
                        told.take(position, sent.stream, item, came.get((sent.stream, number)))
                        came.setdefault((sent.stream, number), item)
        return told

    def take(self, position: Position, stream: bytes, item: Item, before: Item | None) -> None:
        """An item has come; `before` came first under its number."""
        plain = self.episodes.setdefault((stream, item.episode), Plain())
        if before is not None:
            plain.conflict |= before != item
        elif isinstance(item, RowItem):
            plain.rows[item.step] = item, position
            if item.info == ODD:
                plain.conflict = True
                self.dead.add((position, "rows_refused"))
        elif isinstance(item, EpisodeStarted):
            plain.start = item
        elif isinstance(item, EpisodeEnded):
            plain.end = item

    def headers(self) -> dict[bytes, tuple[bytes, str, int]]:
        """Benchmark, status and prefix of each episode."""
        return {
            episode_id(*key): (plain.benchmark, plain.status, plain.prefix)
            for key, plain in self.episodes.items()
        }

    def steps(self) -> dict[tuple[bytes, bytes, int], tuple[bytes, int, int]]:
        """Info, partition and offset of each row that the store takes."""
        return {
            (plain.benchmark, episode_id(*key), step): (item.info, at.partition, at.offset)
            for key, plain in self.episodes.items()
            for step, (item, at) in plain.rows.items()
            if item.info != ODD
        }
