"""What stores that are put around another one have in common."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import pyarrow as pa

from tupli_ingest.core.ports import EpisodeKey, EpisodeStore, Row, StoredStream, Table
from tupli_schemas.steps import Layout


class StoreAround:
    """`EpisodeStore` that passes everything on; who derives from it looks at what is of interest."""

    def __init__(self, store: EpisodeStore) -> None:
        self._store = store

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        """See `EpisodeStore.write_steps`."""
        self._store.write_steps(layout, rows)

    def write_rows(self, table: Table, rows: Sequence[Row]) -> None:
        """See `EpisodeStore.write_rows`."""
        self._store.write_rows(table, rows)

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
