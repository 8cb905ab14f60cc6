"""However a log is cut into blocks, and wherever its processor dies, the rows and headers are those of plain Python."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from support.ingest_crashes import run_through
from support.ingest_streams import (
    BENCHMARK,
    OTHER_SUBJECT,
    STREAM,
    Item,
    RowItem,
    StreamOfItems,
    ended,
    new_record,
    started,
)
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryLog, MemoryStore
from tupli_ingest.core.ports import NO_BENCHMARK
from tupli_schemas.events import EPISODES_TOPIC, EpisodeAmended, EpisodeEnded, EpisodeStarted, Event
from tupli_schemas.ids import LOCAL_SUBJECT, episode_id, make_id
from tupli_schemas.records import NewRecord

STREAMS = (STREAM, make_id(1_700_000_000_001, 8))


@dataclass(frozen=True)
class Delivery:
    """The numbers `first..last` of a stream, sent in records of at most `cut` rows; `salt`: with other content."""

    stream: int
    first: int
    last: int
    cut: int
    salt: int = 0
    subject: bytes = LOCAL_SUBJECT


@st.composite
def items_of_a_stream(draw: st.DrawFn, stream: bytes) -> list[Item]:
    """Up to three episodes, interleaved as those of a vector environment are."""
    queues = []
    for ordinal in range(1, draw(st.integers(1, 3)) + 1):
        steps, final = draw(st.integers(0, 5)), draw(st.booleans())
        queue: list[Item] = [started(1, ordinal, stream=stream)]
        queue += [RowItem(ordinal, step) for step in range(steps)]
        if final:
            queue.append(RowItem(ordinal, steps, is_final=True))
        if draw(st.booleans()):
            queue.append(
                ended(1, ordinal, steps, stream=stream, has_final=final, aborted=draw(st.booleans()))
            )
            if draw(st.booleans()):
                metadata = {"note": ordinal}
                queue.append(EpisodeAmended(stream=stream, first=1, episode=ordinal, metadata=metadata))
        queues.append(queue)
    items = []
    while queues:
        queue = queues[draw(st.integers(0, len(queues) - 1))]
        taken = draw(st.integers(1, 4))
        items += queue[:taken]
        del queue[:taken]
        queues = [one for one in queues if one]
    return items


@st.composite
def histories(draw: st.DrawFn, *, odd: bool = False) -> tuple[list[list[Item]], list[Delivery]]:
    """Streams of items, and how they were sent: in pieces, repeated, overlapping, out of order, with pieces lost."""
    streams = [draw(items_of_a_stream(stream)) for stream in STREAMS[: draw(st.integers(1, 2))]]
    deliveries = []
    for index, items in enumerate(streams):
        start = 1
        while start <= len(items):
            last = min(len(items), start + draw(st.integers(0, 7)))
            if draw(st.integers(0, 9)):
                deliveries.append(Delivery(index, start, last, draw(st.integers(1, 4))))
            start = last + 1
        for _ in range(draw(st.integers(0, 3))):
            start = draw(st.integers(1, len(items)))
            last = min(len(items), start + draw(st.integers(0, 9)))
            salt = draw(st.sampled_from((0, 0, 1)))
            subject = (
                draw(st.sampled_from((LOCAL_SUBJECT, LOCAL_SUBJECT, OTHER_SUBJECT))) if odd else LOCAL_SUBJECT
            )
            delivery = Delivery(index, start, last, draw(st.integers(1, 4)), salt, subject)
            deliveries.insert(draw(st.integers(0, len(deliveries))), delivery)
    for _ in range(draw(st.integers(0, 3))):
        if len(deliveries) > 1:
            i = draw(st.integers(0, len(deliveries) - 2))
            deliveries[i], deliveries[i + 1] = deliveries[i + 1], deliveries[i]
    return streams, deliveries


def salted(item: Item, salt: int) -> Item:
    if isinstance(item, RowItem):
        return replace(item, info=b'{"salt":%d}' % salt) if salt else item
    return replace(item, seed=1_000 + salt) if salt and isinstance(item, EpisodeStarted) else item


def sent(streams: Sequence[list[Item]], deliveries: Sequence[Delivery]) -> list[tuple[Event, Delivery]]:
    out = []
    for delivery in deliveries:
        items = [salted(item, delivery.salt) for item in streams[delivery.stream]]
        stream = StreamOfItems(STREAMS[delivery.stream], items)
        out += [(event, delivery) for event in stream.events(delivery.first, delivery.last, cut=delivery.cut)]
    return out


def log_of(events: Sequence[tuple[Event, Delivery]]) -> MemoryLog:
    log = MemoryLog()
    records: list[NewRecord] = [
        new_record(event, subject=delivery.subject, received_at=1_000 + i)
        for i, (event, delivery) in enumerate(events)
    ]
    log.append_now(EPISODES_TOPIC, records)
    return log


@dataclass
class Plain:
    """What plain Python knows of one episode."""

    start: EpisodeStarted | None = None
    end: EpisodeEnded | None = None
    rows: dict[int, tuple[RowItem, int]] = field(default_factory=dict)
    conflict: bool = False
    offset: int = 0
    ended_offset: int = 0

    @property
    def transitions(self) -> int:
        whole = next(step for step in range(100) if step not in self.rows)
        return whole - any(row.is_final and row.step < whole for row, _ in self.rows.values())

    @property
    def is_complete(self) -> bool:
        if self.start is None or self.end is None:
            return False
        return set(self.rows) == set(range(self.end.n_steps + self.end.has_final))

    @property
    def status(self) -> str:
        if self.conflict:
            return "conflict"
        if self.is_complete and self.end is not None:
            return "aborted" if self.end.aborted else "terminated"
        if self.start is None or self.end is not None or set(self.rows) != set(range(len(self.rows))):
            return "incomplete"
        return "open"


def told_by_plain_python(
    streams: Sequence[list[Item]], events: Sequence[tuple[Event, Delivery]]
) -> dict[bytes, Plain]:
    """The oracle: one item after another, sets and dictionaries, no ranges, no blocks."""
    came: dict[tuple[int, int], Item] = {}
    out: dict[bytes, Plain] = {}
    for offset, (event, delivery) in enumerate(events):
        for number in range(event.first, event.last + 1):
            item = salted(streams[delivery.stream][number - 1], delivery.salt)
            plain = out.setdefault(episode_id(STREAMS[delivery.stream], item.episode), Plain())
            plain.offset = offset
            first = came.setdefault((delivery.stream, number), item)
            if first != item:
                plain.conflict = True
            elif first is item and isinstance(item, RowItem):
                plain.rows.setdefault(item.step, (item, offset))
            elif first is item and isinstance(item, EpisodeStarted):
                plain.start = plain.start or item
            elif first is item and isinstance(item, EpisodeEnded):
                plain.end = plain.end or item
            if plain.is_complete and not plain.ended_offset:
                plain.ended_offset = offset
    return out


def check_against(store: MemoryStore, plain: dict[bytes, Plain]) -> None:
    headers = {row["episode"]: row for row in store.rows("episodes")}
    assert headers.keys() == plain.keys()
    for episode, told in plain.items():
        row = headers[episode]
        ours = {name: row[name] for name in ("status", "prefix", "offset", "ended_offset", "benchmark")}
        assert ours == {
            "status": told.status,
            "prefix": told.transitions,
            "offset": told.offset,
            "ended_offset": told.ended_offset,
            "benchmark": BENCHMARK if told.start else NO_BENCHMARK,
        }
    rows = {
        (key[1], key[3], key[4]): (row["info"], row["offset"], row["is_final"], row["o0"][0])
        for key, row in store.steps().items()
    }
    assert rows == {
        (BENCHMARK if told.start else NO_BENCHMARK, episode, step): (
            item.info,
            offset,
            int(item.is_final),
            item.episode * 1_000.0 + item.step,
        )
        for episode, told in plain.items()
        for step, (item, offset) in told.rows.items()
    }


def everything(store: MemoryStore, letters: MemoryDeadLetters) -> tuple[Any, ...]:
    dead = {(letter.position, letter.code, letter.reason) for letter in letters.read()}
    return store.steps(), store.rows("episodes"), store.rows("streams"), dead


BLOCKS = st.lists(st.integers(1, 12), min_size=1, max_size=5)
CRASHES = st.lists(st.tuples(st.integers(0, 12), st.sampled_from((0.0, 0.5, 1.0))), max_size=6)
COMMITS = st.lists(st.booleans(), min_size=1, max_size=4)


@settings(max_examples=50)
@given(histories(), BLOCKS)
def test_any_history_gives_what_plain_python_tells(
    history: tuple[list[list[Item]], list[Delivery]], blocks: list[int]
) -> None:
    streams, deliveries = history
    events = sent(streams, deliveries)
    store, letters = run_through(log_of(events), blocks)
    assert not letters.read()
    check_against(store, told_by_plain_python(streams, events))


@settings(max_examples=50)
@given(histories(odd=True), BLOCKS, CRASHES, COMMITS, st.sampled_from((1, 100)))
def test_blocks_and_crashes_change_nothing(
    history: tuple[list[list[Item]], list[Delivery]],
    blocks: list[int],
    crashes: list[tuple[int, float]],
    commits: list[bool],
    max_streams: int,
) -> None:
    events = sent(*history)
    plain = everything(*run_through(log_of(events), [1]))
    assert (
        everything(*run_through(log_of(events), blocks, crashes, commits, max_streams=max_streams)) == plain
    )
