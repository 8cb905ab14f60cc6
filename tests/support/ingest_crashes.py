"""A store that dies in the middle of a write, and a processor that is started again until it gets through."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import pyarrow as pa

from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryLog, MemoryStore
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import EpisodeKey, Row, StoredStream, Table
from tupli_schemas.events import EPISODES_TOPIC
from tupli_schemas.steps import Layout


class Crash(BaseException):
    """The process died here."""


class DyingStore:
    """A store whose n-th write (from now, counted down) is done in part, or in full, and never returns."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.writes_left: int | None = None
        self.share = 0.0

    def _survives(self) -> bool:
        if self.writes_left is None:
            return True
        self.writes_left -= 1
        return self.writes_left >= 0

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        if self._survives():
            self.store.write_steps(layout, rows)
            return
        self.store.write_steps(layout, rows.slice(0, int(rows.num_rows * self.share)))
        raise Crash

    def write_rows(self, table: Table, rows: Sequence[Row]) -> None:
        if self._survives():
            self.store.write_rows(table, rows)
            return
        self.store.write_rows(table, rows[: int(len(rows) * self.share)])
        raise Crash

    def load_streams(
        self, wanted: Mapping[bytes, Collection[int] | None], *, columns: Sequence[str] = ()
    ) -> dict[bytes, StoredStream]:
        return self.store.load_streams(wanted, columns=columns)

    def read_steps(self, key: EpisodeKey, ranges: Sequence[tuple[int, int]]) -> Iterator[pa.RecordBatch]:
        return self.store.read_steps(key, ranges)

    def find_episodes(self, *, benchmark: bytes | None = None, ids: Sequence[bytes] = ()) -> list[EpisodeKey]:
        return self.store.find_episodes(benchmark=benchmark, ids=ids)

    def erase(self, episodes: Sequence[EpisodeKey]) -> None:
        if self._survives():
            self.store.erase(episodes)
            return
        self.store.erase(episodes[: int(len(episodes) * self.share)])
        raise Crash

    def probe(self) -> None:
        self.store.probe()


def run_through(
    log: MemoryLog,
    blocks: Sequence[int],
    crashes: Sequence[tuple[int, float]] = (),
    commits: Sequence[bool] = (True,),
    *,
    max_streams: int = 10_000,
) -> tuple[MemoryStore, MemoryDeadLetters]:
    """Process the whole log in blocks of these sizes (round and round), dying and starting again as told.

    Each crash is (writes until it, share of the last write that is done); `commits` says after which blocks the
    offset is committed.
    """
    store, letters = MemoryStore(), MemoryDeadLetters()
    dying = DyingStore(store)
    left = list(crashes)
    block = 0
    while True:
        dying.writes_left, dying.share = left.pop(0) if left else (None, 0.0)
        pipeline = Pipeline(dying, letters, max_streams=max_streams)
        at = log.checkpoint("g", EPISODES_TOPIC)
        try:
            while records := log.read(
                EPISODES_TOPIC, at, max_bytes=2**40, max_records=blocks[block % len(blocks)]
            ):
                pipeline.add(records)
                pipeline.flush()
                at = records[-1].position.offset + 1
                if commits[block % len(commits)]:
                    log.commit("g", EPISODES_TOPIC, at)
                block += 1
        except Crash:
            continue
        return store, letters
