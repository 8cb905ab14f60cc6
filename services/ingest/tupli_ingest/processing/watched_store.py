"""A store that tells which episodes are written, so that rows of deleted ones do not stay."""

from collections.abc import Callable, Sequence

import pyarrow as pa

from tupli_ingest.core.ports import EpisodeKey, EpisodeStore, Row, Table
from tupli_ingest.processing.store_around import StoreAround
from tupli_schemas.steps import Layout

OnWritten = Callable[[list[EpisodeKey]], None]
_KEY = ["benchmark", "owner", "episode"]


class WatchedStore(StoreAround):
    """`EpisodeStore` around another one; `on_written` gets the keys of all rows after they are written."""

    def __init__(self, store: EpisodeStore, on_written: OnWritten) -> None:
        super().__init__(store)
        self._on_written = on_written

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        """See `EpisodeStore.write_steps`."""
        super().write_steps(layout, rows)
        keys = pa.Table.from_batches([rows.select(_KEY)]).group_by(_KEY).aggregate([]).to_pylist()
        self._on_written([EpisodeKey(**key, layout=layout.text) for key in keys])

    def write_rows(self, table: Table, rows: Sequence[Row]) -> None:
        """See `EpisodeStore.write_rows`."""
        super().write_rows(table, rows)
        if table == "episodes":
            self._on_written([EpisodeKey(*(row[name] for name in (*_KEY, "layout"))) for row in rows])
