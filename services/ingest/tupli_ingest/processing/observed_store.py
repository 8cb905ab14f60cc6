"""A store that tells how long it takes to keep rows, and how many streams are open."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

from tupli_ingest.core.meters import Meter
from tupli_ingest.core.ports import EpisodeStore, Row, Table
from tupli_ingest.core.tracing import Tracer
from tupli_ingest.processing.open_streams import OpenStreams
from tupli_ingest.processing.store_around import StoreAround
from tupli_schemas.steps import Layout

STEPS: Final = "steps"
"""What all step tables count as: their names follow the variety of users' environments."""


class ObservedStore(StoreAround):
    """`EpisodeStore` around another one. Writes that fail are no latency: whoever tries again counts them."""

    def __init__(
        self,
        store: EpisodeStore,
        meter: Meter,
        tracer: Tracer,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(store)
        self._meter = meter
        self._tracer = tracer
        self._clock = clock
        self.open_streams = OpenStreams()

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        """See `EpisodeStore.write_steps`."""
        with self._write(STEPS, rows.num_rows):
            super().write_steps(layout, rows)

    def write_rows(self, table: Table, rows: Sequence[Row]) -> None:
        """See `EpisodeStore.write_rows`."""
        if not rows:
            return
        with self._write(table, len(rows)):
            super().write_rows(table, rows)
        if table == "streams":
            self.open_streams.note(rows)

    @contextmanager
    def _write(self, table: str, rows: int) -> Iterator[None]:
        with self._tracer.span("store write", {"db.collection.name": table, "tupli.rows": rows}):
            begun = self._clock()
            yield
            self._meter.wrote(table, self._clock() - begun)
