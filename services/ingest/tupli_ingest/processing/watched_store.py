"""A store that tells which episodes are written, so that rows of deleted ones do not stay."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import pyarrow as pa

from tupli_ingest.core.ports import EpisodeKey, EpisodeStore, Row, StoredStream, Table
from tupli_schemas.steps import Layout

OnWritten = Callable[[list[EpisodeKey]], None]
_KEY = ["benchmark", "owner", "episode"]


class WatchedStore:
    """`EpisodeStore` around another one; `on_written` gets the keys of all rows after they are written."""

    def __init__(self, store: EpisodeStore, on_written: OnWritten) -> None:
        self._store = store
        self._on_written = on_written

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        """See `EpisodeStore.write_steps`."""
        self._store.write_steps(layout, rows)
        keys = pa.Table.from_batches([rows.select(_KEY)]).group_by(_KEY).aggregate([]).to_pylist()
        self._on_written([EpisodeKey(**key, layout=layout.text) for key in keys])

    def write_rows(self, table: Table, rows: Sequence[Row]) -> None:
        """See `EpisodeStore.write_rows`."""
        self._store.write_rows(table, rows)
        if table == "episodes":
            self._on_written([EpisodeKey(*(row[name] for name in (*_KEY, "layout"))) for row in rows])

    def load_streams(
        self, wanted: Mapping[bytes, Collection[int] | None], *, columns: Sequence[str] = ()
    ) -> dict[bytes, StoredStream]:
        """See `EpisodeStore.load_streams`."""
        return self._store.load_streams(wanted, columns=columns)

    def read_steps(self, key: EpisodeKey, ranges: Sequence[tuple[int, int]]) -> Iterator[pa.RecordBatch]:
        """See `EpisodeStore.read_steps`."""
        return self._store.read_steps(key, ranges)

    def find_episodes(self, *, benchmark: bytes | None = None, ids: Sequence[bytes] = ()) -> list[EpisodeKey]:
        """See `EpisodeStore.find_episodes`."""
        return self._store.find_episodes(benchmark=benchmark, ids=ids)

    def erase(self, episodes: Sequence[EpisodeKey]) -> None:
        """See `EpisodeStore.erase`."""
        self._store.erase(episodes)

    def probe(self) -> None:
        """See `EpisodeStore.probe`."""
        self._store.probe()
