"""Recording streams for tests of ingest: episodes with rows, as numbered items that can be cut into events anyhow."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tupli_schemas.events import (
    BenchmarkRef,
    EpisodeAmended,
    EpisodeEnded,
    EpisodeStarted,
    Event,
    StepsRecorded,
    encode_event,
    encode_rows,
)
from tupli_schemas.ids import LOCAL_SUBJECT, make_id
from tupli_schemas.records import Envelope, NewRecord
from tupli_schemas.steps import Cell, Layout, Leaf, StepSchema

STREAM = make_id(1_700_000_000_000, 7)
BENCHMARK = make_id(1_600_000_000_000, 1)
OTHER_SUBJECT = make_id(1_600_000_000_000, 2)
SCHEMA = StepSchema(
    observation=(Leaf("", Cell("f4", (2,))),),
    action=(Leaf("", Cell("i8")),),
    extra=(Leaf("note", Cell("raw")),),
)
LAYOUT = SCHEMA.layout


@dataclass(frozen=True)
class RowItem:
    """One row: a step of an episode; `salt` changes its content."""

    episode: int
    step: int
    is_final: bool = False
    salt: int = 0
    info: bytes = b"{}"


Item = RowItem | EpisodeStarted | EpisodeEnded | EpisodeAmended


def batch_of(rows: Sequence[RowItem], layout: Layout = LAYOUT) -> pa.RecordBatch:
    """The record batch of rows."""
    columns: dict[str, Any] = {
        "episode": np.array([row.episode for row in rows], np.uint32),
        "step": np.array([row.step for row in rows], np.uint64),
        "is_final": np.array([row.is_final for row in rows], np.uint8),
        "reward": np.array([0.0 if row.is_final else row.step / 3 + row.salt for row in rows], np.float64),
        "terminated": np.zeros(len(rows), np.uint8),
        "truncated": np.zeros(len(rows), np.uint8),
        "time": np.array([1_000 + row.step for row in rows], np.int64),
        "info": [row.info for row in rows],
    }
    for name, cell in layout.columns:
        if cell.is_opaque:
            columns[name] = [f"{row.episode}/{row.step}".encode() for row in rows]
        else:
            cells = [np.full(cell.size, row.episode * 1_000 + row.step) for row in rows]
            flat = pa.array(np.concatenate(cells).astype(cell.storage_dtype))
            kind = cell.arrow_type
            columns[name] = flat if cell.shape == () else pa.FixedSizeListArray.from_arrays(flat, type=kind)
    schema = layout.arrow_schema
    arrays = [
        column if isinstance(column := columns[item.name], pa.Array) else pa.array(column, item.type)
        for item in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def steps_event(
    first: int, rows: Sequence[RowItem], *, stream: bytes = STREAM, layout: Layout = LAYOUT
) -> StepsRecorded:
    """The event of rows, numbered from `first`."""
    body = encode_rows(batch_of(rows, layout))
    return StepsRecorded(
        stream=stream, first=first, last=first + len(rows) - 1, layout=layout.text, body=body
    )


def started(first: int, episode: int, *, stream: bytes = STREAM, **changes: Any) -> EpisodeStarted:
    """A start."""
    event = EpisodeStarted(
        stream=stream,
        first=first,
        episode=episode,
        benchmark=BenchmarkRef(BENCHMARK, "bench"),
        step_schema=SCHEMA,
        started_at=5,
        seed=episode,
        metadata={"site": "lab"},
    )
    return replace(event, **changes)


def ended(first: int, episode: int, n_steps: int, *, stream: bytes = STREAM, **changes: Any) -> EpisodeEnded:
    """An end by termination."""
    event = EpisodeEnded(
        stream=stream, first=first, episode=episode, n_steps=n_steps, ended_at=9, terminated=True, return_=1.5
    )
    return replace(event, **changes)


@dataclass
class StreamOfItems:
    """Items of a stream, numbered from 1 in order."""

    stream: bytes = STREAM
    items: list[Item] = field(default_factory=list)
    layout: Layout = LAYOUT

    def episode(self, ordinal: int, n_steps: int, *, end: bool = True) -> "StreamOfItems":
        """Add a whole episode."""
        self.items.append(started(len(self.items) + 1, ordinal, stream=self.stream))
        self.items += [RowItem(ordinal, step) for step in range(n_steps)]
        if end:
            self.items.append(RowItem(ordinal, n_steps, is_final=True))
            self.items.append(ended(len(self.items) + 1, ordinal, n_steps, stream=self.stream))
        return self

    def events(self, first: int = 1, last: int | None = None, *, cut: int = 256) -> list[Event]:
        """The events that cover the numbers `first..last`, with at most `cut` rows each."""
        out: list[Event] = []
        rows: list[RowItem] = []
        start = first
        for number in range(first, (len(self.items) if last is None else last) + 1):
            item = self.items[number - 1]
            if rows and (not isinstance(item, RowItem) or len(rows) == cut):
                out.append(steps_event(start, rows, stream=self.stream, layout=self.layout))
                rows = []
            if isinstance(item, RowItem):
                start = start if rows else number
                rows.append(item)
            else:
                out.append(replace(item, first=number))
        if rows:
            out.append(steps_event(start, rows, stream=self.stream, layout=self.layout))
        return out


def new_record(event: Event, *, subject: bytes = LOCAL_SUBJECT, received_at: int = 1_000) -> NewRecord:
    """The log record of an event."""
    envelope = Envelope(event=event.NAME, version=event.VERSION, subject=subject, received_at=received_at)
    return NewRecord(event.stream, envelope, encode_event(event))
