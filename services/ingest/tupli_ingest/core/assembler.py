"""The assembler: a pure state machine from the records of streams to rows, headers and dead letters.

It does no I/O. Its driver (`pipeline`) answers `needs` from the store, folds decoded records, and writes what
they led to in this order: markers, rows, rows moved to where they belong, headers, erasures, dead letters,
streams. Then it calls `written`. A crash between any two writes is harmless:

- *A stream's row is written last.* A record at or below its offset is done for good and is not folded again.
  (Nothing is inferred from positions in step tables.)
- *A header may be ahead of its stream.* A record at or below a header's offset is not folded into it again;
  its rows are written again, which row identity makes harmless.
- *Whether a row is written depends on the stream's numbers and the episode's layout alone*, never on how far
  a header is: the rows are the same however the log is cut into blocks, and wherever it crashes.

Rows whose start has not come have no benchmark. They are kept in the store, under `NO_BENCHMARK`, where no
dataset looks, however many they are; when the start comes they are moved. Nothing is held in memory, and no
position is held back. What a worker that slept meanwhile leaves there is erased later (`leftovers`).

A repetition is a number that has come before. Its content is compared with the stored row after the block's
rows are written, so that it does not matter whether the first one is in the same block.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from tupli_ingest.core.block import Block, Check, Move, Piece
from tupli_ingest.core.decoding import Item
from tupli_ingest.core.folding import (
    MAX_RANGES,
    compare_end,
    compare_start,
    fold_amendment,
    fold_end,
    fold_rows,
    fold_start,
)
from tupli_ingest.core.headers import EpisodeFacts, StreamFacts, new_episode, ordinal_of_row
from tupli_ingest.core.ports import NO_BENCHMARK, DeadLetter, Row, StoredStream
from tupli_ingest.core.rows import Group, Rows, same_rows
from tupli_schemas.direct import place_of
from tupli_schemas.events import EpisodeEnded, EpisodeStarted, StepsRecorded
from tupli_schemas.ids import ordinal_of
from tupli_schemas.records import Position


@dataclass(slots=True)
class _Stream:
    """A stream in memory.

    Episodes up to `highest` that are not in `episodes` may have a header in the store.
    """

    facts: StreamFacts | None
    highest: int
    episodes: dict[int, EpisodeFacts] = field(default_factory=dict)
    parked: set[int] = field(default_factory=set)
    dirty: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Fold:
    """One record on its way: its stream, the facts it is about, and which of them it is new to."""

    item: Item
    stream: _Stream
    facts: StreamFacts
    fresh: set[int]
    known: set[int]

    @property
    def offset(self) -> int:
        return self.item.offset

    def episode(self, ordinal: int) -> EpisodeFacts:
        return self.stream.episodes[ordinal]


class Assembler:
    """Folds records into facts and rows; see the module."""

    def __init__(self, *, max_streams: int = 10_000) -> None:
        self._max_streams = max_streams
        self._streams: dict[bytes, _Stream] = {}
        self._dirty: dict[bytes, _Stream] = {}
        self._letters: dict[tuple[Position, str], DeadLetter] = {}
        self.block = Block()

    def needs(self, items: Iterable[Item]) -> dict[bytes, set[int]]:
        """What must be learned before these items are folded: streams, and ordinals of their episodes."""
        wanted: dict[bytes, set[int]] = {}
        for item in items:
            if item.event is None:
                continue
            key = item.record.key
            stream = self._streams.get(key)
            if stream is None:
                wanted.setdefault(key, set()).update(item.ordinals)
                continue
            for ordinal in item.ordinals:
                if ordinal <= stream.highest and ordinal not in stream.episodes:
                    wanted.setdefault(key, set()).add(ordinal)
        return wanted

    def learn(self, stored: Mapping[bytes, StoredStream]) -> None:
        """Take what the store knows of streams and episodes."""
        for key, known in stored.items():
            stream = self._streams.get(key)
            if stream is None:
                facts = None if known.stream is None else StreamFacts.from_row(known.stream)
                stream = self._streams[key] = _Stream(facts, known.highest)
            for row in known.episodes:
                _, ordinal = ordinal_of_row(row)
                if not row["has_start"]:
                    stream.parked.add(ordinal)
                if ordinal not in stream.episodes or row["has_start"]:
                    stream.episodes[ordinal] = EpisodeFacts.from_row(row)

    def fold(self, item: Item) -> None:
        """Fold one record; in the order of the log, after `needs` and `learn`."""
        if item.event is None:
            self._letter(item, item.record.code, item.error)
            return
        stream = self._streams[item.record.key]
        subject = item.record.envelope.subject
        if stream.facts is None:
            stream.facts = _new_stream(item)
        facts = stream.facts
        if facts.owner != subject:
            self._letter(item, "foreign_owner", "the stream belongs to another subject")
            return
        if item.offset <= facts.offset:
            return
        received, event = facts.received, item.event
        if len(received) >= MAX_RANGES and event.first - 1 not in received and event.first not in received:
            self._letter(item, "too_many_gaps", f"the stream has more than {MAX_RANGES} gaps")
            return
        self._fold_numbers(self._begin(stream, facts, item))
        received.add(event.first, event.last)
        self._dirty[item.record.key] = stream

    def _begin(self, stream: _Stream, facts: StreamFacts, item: Item) -> _Fold:
        """Find or make the facts of the record's episodes, and note it in those that have not seen it."""
        position, received_at = item.record.position, item.record.envelope.received_ns
        fresh, known = set(), set()
        for ordinal in item.ordinals:
            episode = stream.episodes.get(ordinal)
            if episode is None:
                episode = stream.episodes[ordinal] = new_episode(facts, ordinal, received_at)
                stream.highest = max(stream.highest, ordinal)
            else:
                known.add(ordinal)
            if episode.offset < position.offset:
                fresh.add(ordinal)
                episode.offset, episode.partition = position.offset, position.partition
                episode.received_at = max(episode.received_at, received_at)
                episode.log_generation = position.generation
        facts.offset, facts.partition, facts.log_generation = (
            position.offset,
            position.partition,
            position.generation,
        )
        facts.last_received_at = max(facts.last_received_at, received_at)
        self.block.bytes += len(item.record.payload)
        return _Fold(item, stream, facts, fresh, known)

    def _fold_numbers(self, fold: _Fold) -> None:
        event = fold.item.event
        if event is None:
            return
        received = fold.facts.received
        if received.last is None or event.first > received.last:
            self._fold_new(fold, event.first, event.last)
        else:
            for first, last in received.missing(event.first, event.last):
                self._fold_new(fold, first, last)
            for first, last in received.common(event.first, event.last):
                self._fold_repeated(fold, first, last)
        stream, offset = fold.stream, fold.offset
        for ordinal in fold.item.ordinals:
            episode = stream.episodes[ordinal]
            if not episode.is_complete:
                fold.facts.open_episodes.add(ordinal)
            else:
                fold.facts.open_episodes.discard(ordinal)
                if ordinal in fold.fresh and not episode.ended_offset:
                    episode.ended_offset = offset
        stream.dirty |= fold.fresh

    def _fold_new(self, fold: _Fold, first: int, last: int) -> None:
        event, rows, offset = fold.item.event, fold.item.rows, fold.offset
        if rows is not None:
            self._fold_new_rows(fold, rows.cut(first, last))
        elif isinstance(event, EpisodeStarted):
            self._fold_start(fold, event)
        elif event is not None and not isinstance(event, StepsRecorded) and event.episode in fold.fresh:
            if isinstance(event, EpisodeEnded):
                fold_end(fold.episode(event.episode), event, offset)
            else:
                fold_amendment(fold.episode(event.episode), event)

    def _fold_start(self, fold: _Fold, event: EpisodeStarted) -> None:
        ordinal = event.episode
        episode = fold.episode(ordinal)
        source = episode.key
        if ordinal in fold.fresh:
            if not fold_start(episode, event, fold.offset):
                self._letter(fold.item, "contradicting_start", "the start contradicts what came before it")
            elif ordinal in fold.known:
                if source.layout:
                    self.block.moves.append(Move(source, episode.key))
                self.block.erasures.append(source)
        elif episode.has_start and ordinal in fold.stream.parked:
            self.block.erasures.append(replace(episode.key, benchmark=NO_BENCHMARK))

    def _fold_new_rows(self, fold: _Fold, rows: Rows) -> None:
        refused = set()
        benchmarks = set()
        for group in rows.groups:
            episode = fold.episode(group.ordinal)
            if not self._takes_layout(fold, episode, rows):
                refused.add(group.ordinal)
                continue
            if group.ordinal in fold.fresh:
                fold_rows(episode, group, fold.offset)
            benchmarks.add(episode.benchmark)
            if not episode.has_start:
                marker = new_episode(fold.facts, group.ordinal, episode.received_at)
                self.block.markers.setdefault(episode.episode, marker)
        for benchmark in benchmarks:
            batch = rows.batch
            if refused or len(benchmarks) > 1:
                other = {g.ordinal for g in rows.groups if fold.episode(g.ordinal).benchmark != benchmark}
                batch = rows.without(refused | other)
            key, facts = fold.item.record.key, fold.facts
            piece = Piece(batch, key, facts.owner, benchmark, fold.item.record.position)
            self.block.add(rows.layout, piece)

    def _takes_layout(self, fold: _Fold, episode: EpisodeFacts, rows: Rows) -> bool:
        """Whether rows of this layout are the episode's; the first ones before a start decide."""
        layout = rows.layout.text
        if not episode.layout:
            episode.layout = layout
        if episode.layout == layout:
            return True
        told = f"rows of layout {layout[:200]!r} in an episode of layout {episode.layout[:200]!r}"
        if ordinal_of(episode.episode) in fold.fresh:
            episode.contradict(fold.offset, told)
        self._letter(fold.item, "layout_mismatch", told)
        return False

    def _fold_repeated(self, fold: _Fold, first: int, last: int) -> None:
        event, rows = fold.item.event, fold.item.rows
        if rows is not None:
            part = rows.cut(first, last)
            for group in part.groups:
                if group.ordinal in fold.fresh:
                    self._repeat_rows(fold, part, group)
        elif isinstance(event, EpisodeStarted) and event.episode in fold.fresh:
            compare_start(fold.episode(event.episode), event, fold.offset)
        elif isinstance(event, EpisodeEnded) and event.episode in fold.fresh:
            compare_end(fold.episode(event.episode), event, fold.offset)

    def _repeat_rows(self, fold: _Fold, rows: Rows, group: Group) -> None:
        episode = fold.episode(group.ordinal)
        if episode.layout == rows.layout.text:
            self.block.checks.append(Check(episode, rows.layout, rows.of(group), fold.offset))
            return
        told = f"steps {group.first} to {group.last} were repeated with another layout"
        episode.contradict(fold.offset, told)

    def judge(self, check: Check, stored: pa.RecordBatch | None) -> None:
        """Compare repeated rows with those in the store (all of their steps that are there, by step).

        A row that came later than the repetition is not the one that it repeats.
        """
        steps = check.batch.column("step").to_numpy()
        matched = np.zeros(len(steps), np.bool_)
        if stored is not None and stored.num_rows:
            earlier = stored.filter(pa.array(stored.column("offset").to_numpy() < check.offset))
            if earlier.num_rows:
                known = earlier.column("step").to_numpy()
                at = np.minimum(np.searchsorted(known, steps), len(known) - 1)
                found = known[at] == steps
                same = same_rows(_facts(check.batch), _facts(earlier.take(pa.array(at))))
                matched = found & same
        if not matched.all():
            step = int(steps[int(np.argmin(matched))])
            check.episode.contradict(check.offset, f"step {step} was repeated with other content")

    def refuse(self, episode: bytes, step: int, offset: int, reason: str) -> None:
        """A row of the block is one that the store will never take."""
        key = episode[:12] + bytes(4)
        facts = self._streams[key].episodes[ordinal_of(episode)]
        facts.contradict(offset, f"the store refuses step {step}: {reason}")
        self._streams[key].dirty.add(ordinal_of(episode))

    def headers(self) -> list[Row]:
        """The rows of `episodes` that have changed since the last block was written."""
        return [
            stream.episodes[ordinal].to_row()
            for stream in self._dirty.values()
            for ordinal in sorted(stream.dirty)
        ]

    def streams(self) -> list[Row]:
        """The rows of `streams` that have changed since the last block was written."""
        return [stream.facts.to_row() for stream in self._dirty.values() if stream.facts is not None]

    def letters(self) -> list[DeadLetter]:
        """The dead letters since the last block was written."""
        return list(self._letters.values())

    def add_letter(self, letter: DeadLetter) -> None:
        """Add a dead letter that the driver found."""
        self._letters.setdefault((letter.position, letter.code), letter)

    def written(self) -> None:
        """All of the block is written: begin the next, and forget what the store knows as well."""
        for stream in self._dirty.values():
            for ordinal in stream.dirty:
                episode = stream.episodes[ordinal]
                if episode.has_start:
                    stream.parked.discard(ordinal)
                if episode.is_complete:
                    del stream.episodes[ordinal]
            stream.dirty.clear()
        for key in self._dirty:
            self._streams[key] = self._streams.pop(key)
        while len(self._streams) > self._max_streams:
            del self._streams[next(iter(self._streams))]
        self._dirty.clear()
        self._letters.clear()
        self.block = Block()

    def _letter(self, item: Item, code: str, reason: str) -> None:
        record = item.record
        topic, _ = place_of(record.position.partition)
        self.add_letter(DeadLetter(topic, record.position, record.key, code, reason))


def _new_stream(item: Item) -> StreamFacts:
    envelope = item.record.envelope
    return StreamFacts(stream=item.record.key, owner=envelope.subject, first_received_at=envelope.received_ns)


def _facts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The columns of rows that a repetition must have equal: all that a record has, but the episode."""
    names = [name for name in batch.schema.names if name not in _PLACES]
    return batch.select(names)


_PLACES = {"episode", "log_generation", "partition", "offset"}
