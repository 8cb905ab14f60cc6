"""A topic full of steps, made once and appended straight to the log: episodes as a recorder would send them.

Streams differ in their ids alone, so that the rows of one are those of all, and each partition gets as many.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
from aiokafka.partitioner import DefaultPartitioner

from support.cluster import Cluster
from support.ingest_streams import BENCHMARK, new_record
from tupli_ingest.adapters.kafka_reader import ThreadLog
from tupli_schemas.events import (
    EPISODES_TOPIC,
    BenchmarkRef,
    EpisodeEnded,
    EpisodeStarted,
    Event,
    StepsRecorded,
    encode_rows,
)
from tupli_schemas.ids import make_id
from tupli_schemas.records import NewRecord
from tupli_schemas.steps import Cell, Leaf, StepSchema

STREAMS: Final = 4
"""Streams of a partition, side by side."""
_APPEND_BYTES: Final = 16 * 1024 * 1024
_NOW_NS: Final = 1_790_000_000 * 10**9


@dataclass(frozen=True, slots=True)
class Kind:
    """What episodes are made of: cells of observation and action, rows of a record, records of an episode."""

    observation: Cell
    action: Cell
    rows: int
    records: int

    @property
    def schema(self) -> StepSchema:
        """Columns of a step."""
        return StepSchema((Leaf("", self.observation),), (Leaf("", self.action),), extra=())

    @property
    def steps(self) -> int:
        """Steps of an episode: its last row is the final observation."""
        return self.records * self.rows - 1


VECTORS: Final = Kind(Cell("f4", (17,)), Cell("f4", (6,)), rows=256, records=4)
FRAMES: Final = Kind(Cell("u1", (210, 160, 3)), Cell("f4", (6,)), rows=8, records=4)


@dataclass(frozen=True, slots=True)
class Filled:
    """What the topic has."""

    kind: Kind
    episodes: int

    @property
    def steps(self) -> int:
        """Transitions."""
        return self.episodes * self.kind.steps

    @property
    def rows(self) -> int:
        """Transitions and final observations."""
        return self.episodes * self.kind.records * self.kind.rows


def fill(grown: Cluster, steps: int, kind: Kind = VECTORS) -> Filled:
    """Append at least so many steps."""
    streams = _streams(grown.partitions)
    episodes = -(-steps // (len(streams) * kind.steps))
    log = ThreadLog(grown.kafka)
    try:
        waiting: list[NewRecord] = []
        size = 0
        for record in _records(streams, episodes, kind):
            waiting.append(record)
            size += len(record.payload)
            if size >= _APPEND_BYTES:
                log.append_now(EPISODES_TOPIC, waiting)
                waiting, size = [], 0
        log.append_now(EPISODES_TOPIC, waiting)
    finally:
        log.close()
    return Filled(kind, episodes * len(streams))


def _records(streams: list[bytes], episodes: int, kind: Kind) -> Iterator[NewRecord]:
    """Streams side by side, an event of each in turn."""
    for ordinal in range(1, episodes + 1):
        for event in _episode(ordinal, kind):
            for stream in streams:
                yield new_record(replace(event, stream=stream))


def _episode(ordinal: int, kind: Kind) -> list[Event]:
    """An episode's events; of which stream is said later."""
    first = 1 + (ordinal - 1) * (kind.steps + 3)
    start = EpisodeStarted(
        stream=bytes(16),
        first=first,
        episode=ordinal,
        benchmark=BenchmarkRef(BENCHMARK, "bench"),
        step_schema=kind.schema,
        started_at=_NOW_NS,
        seed=ordinal,
    )
    events: list[Event] = [start]
    for number in range(kind.records):
        at = first + 1 + number * kind.rows
        body = encode_rows(_rows(ordinal, number, kind))
        steps = StepsRecorded(
            stream=bytes(16), first=at, last=at + kind.rows - 1, layout=kind.schema.layout.text, body=body
        )
        events.append(steps)
    end = EpisodeEnded(
        stream=bytes(16),
        first=first + 2 + kind.steps,
        episode=ordinal,
        n_steps=kind.steps,
        ended_at=_NOW_NS + kind.steps,
        truncated=True,
        has_final=True,
        return_=float(kind.steps),
    )
    return [*events, end]


def _rows(ordinal: int, number: int, kind: Kind) -> pa.RecordBatch:
    """The rows of an episode's record."""
    rng = np.random.default_rng((ordinal, number))
    rows = kind.rows
    step = np.arange(number * rows, (number + 1) * rows, dtype=np.uint64)
    final = (step == kind.steps).astype(np.uint8)
    layout = kind.schema.layout
    columns = {
        "episode": np.full(rows, ordinal, np.uint32),
        "step": step,
        "is_final": final,
        "reward": 1.0 - final,
        "terminated": np.zeros(rows, np.uint8),
        "truncated": (step == kind.steps - 1).astype(np.uint8),
        "time": (step + _NOW_NS).astype(np.int64),
        "info": [b"{}"] * rows,
    }
    for name, cell in layout.columns:
        size = rows * cell.size
        drawn = rng.bytes(size) if cell.dtype == "u1" else rng.standard_normal(size, np.float32)
        flat = pa.array(np.frombuffer(drawn, cell.dtype))
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, type=cell.arrow_type)
    arrays = [
        column if isinstance(column := columns[item.name], pa.Array) else pa.array(column, item.type)
        for item in layout.arrow_schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=layout.arrow_schema)


def _streams(partitions: int) -> list[bytes]:
    """Ids of streams, as many for each partition, in turn."""
    numbers = list(range(partitions))
    found: dict[int, list[bytes]] = {number: [] for number in numbers}
    while any(len(ids) < STREAMS for ids in found.values()):
        stream = make_id(_NOW_NS // 1_000_000, secrets.randbits(42))
        ids = found[DefaultPartitioner()(stream, numbers, numbers)]
        if len(ids) < STREAMS:
            ids.append(stream)
    return [found[number][turn] for turn in range(STREAMS) for number in numbers]
