"""The order in which records become rows: what any processor runs, over the ports alone."""

from collections.abc import Sequence

import pyarrow as pa

from tupli_ingest.core.assembler import Assembler
from tupli_ingest.core.block import Check, placed_rows
from tupli_ingest.core.decoding import Item, decode_record
from tupli_ingest.core.errors import NoMoreTables, RowsRefused
from tupli_ingest.core.ports import NO_BENCHMARK, DeadLetter, DeadLetters, EpisodeKey, EpisodeStore
from tupli_ingest.core.ranges import RangeSet
from tupli_ingest.core.rows import LAST_STEP, parse_layout
from tupli_schemas.direct import place_of
from tupli_schemas.records import Position, Record
from tupli_schemas.steps import Layout


class Pipeline:
    """Collects records into blocks and writes them.

    `add` records as they are read, `flush` when `pending_bytes` or the time says so, then commit the offset
    after the last added record. When `flush` raises, nothing is forgotten and it may be called again, as
    often as needed.
    """

    def __init__(
        self,
        store: EpisodeStore,
        dead_letters: DeadLetters,
        *,
        max_streams: int = 10_000,
    ) -> None:
        self._store = store
        self._dead_letters = dead_letters
        self._assembler = Assembler(max_streams=max_streams)

    @property
    def pending_bytes(self) -> int:
        """Bytes of events that wait for the next flush."""
        return self._assembler.block.bytes

    @property
    def pending_rows(self) -> int:
        """Rows that wait for the next flush."""
        return self._assembler.block.rows

    def add(self, records: Sequence[Record]) -> None:
        """Fold records, in the order of the log; reads what the store knows of streams that are new here.

        Raises:
            StoreUnavailable: Before anything was folded; the same call may be repeated.
        """
        self.add_items([decode_record(record) for record in records])

    def add_items(self, items: Sequence[Item]) -> None:
        """`add`, of records that are decoded already (which another thread may have done).

        Raises:
            StoreUnavailable: Before anything was folded; the same call may be repeated.
        """
        assembler = self._assembler
        wanted = assembler.needs(items)
        if wanted:
            assembler.learn(self._store.load_streams(wanted))
        for item in items:
            assembler.fold(item)

    def flush(self) -> None:
        """Write what was folded: rows, headers, streams, each durable before the next.

        Raises:
            StoreFull: No space; call again later.
            StoreUnavailable: The store does not answer; call again later.
            TooManyDeadLetters: A person must look.
        """
        assembler, store = self._assembler, self._store
        store.write_rows("episodes", [one.to_row() for one in assembler.block.markers.values()])
        for layout, rows in assembler.block.step_rows():
            self._write_steps(layout, rows)
        for move in assembler.block.moves:
            self._move(move.source, move.target)
        self._judge(assembler.block.checks)
        store.write_rows("episodes", assembler.headers())
        if assembler.block.erasures:
            store.erase(assembler.block.erasures)
        if letters := assembler.letters():
            self._dead_letters.put(letters)
        store.write_rows("streams", assembler.streams())
        assembler.written()

    def _write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        """Write rows; those that the store refuses are found by halving, and become dead letters."""
        try:
            self._store.write_steps(layout, rows)
        except RowsRefused as error:
            if rows.num_rows == 1 or isinstance(error, NoMoreTables):  # that is of all alike
                for row in range(rows.num_rows):
                    self._refuse(rows, row, error)
                return
            half = rows.num_rows // 2
            self._write_steps(layout, rows.slice(0, half))
            self._write_steps(layout, rows.slice(half))

    def _refuse(self, rows: pa.RecordBatch, row: int, error: RowsRefused) -> None:
        names = ("episode", "step", "log_generation", "partition", "offset")
        episode, step, *place = (rows.column(name)[row].as_py() for name in names)
        position = Position(*place)
        self._assembler.refuse(episode, step, position.offset, str(error))
        told = f"step {step} of episode {episode.hex()}: {error}"
        stream = episode[:12] + bytes(4)
        topic, _ = place_of(position.partition)
        self._assembler.add_letter(DeadLetter(topic, position, stream, error.code, told))

    def _move(self, source: EpisodeKey, target: EpisodeKey) -> None:
        layout = parse_layout(source.layout)
        for stored in self._store.read_steps(source, [(0, LAST_STEP)]):
            self._store.write_steps(layout, placed_rows(layout, target, stored))

    def _judge(self, checks: Sequence[Check]) -> None:
        """Compare repetitions, with one read an episode."""
        by_episode: dict[bytes, list[Check]] = {}
        for check in checks:
            by_episode.setdefault(check.episode.episode, []).append(check)
        for group in by_episode.values():
            steps = RangeSet((_step(check, 0), _step(check, -1)) for check in group)
            key = self._place_of(group[0].episode.key)
            batches = list(self._store.read_steps(key, steps.ranges()))
            stored = pa.Table.from_batches(batches).combine_chunks().to_batches() if batches else []
            for check in group:
                self._assembler.judge(check, stored[0] if stored else None)

    def _place_of(self, key: EpisodeKey) -> EpisodeKey:
        """Where an episode's rows are by now.

        Another worker, whose partition this is by now or was before, may have seen the start already: then it
        has moved them, and nothing may be left under `NO_BENCHMARK`.
        """
        if key.benchmark != NO_BENCHMARK:
            return key
        found = self._store.find_episodes(ids=[key.episode])
        moved = (one for one in found if one.owner == key.owner and one.benchmark != NO_BENCHMARK)
        return next(moved, key)


def _step(check: Check, row: int) -> int:
    steps = check.batch.column("step")
    return int(steps[row if row >= 0 else len(steps) + row].as_py())
