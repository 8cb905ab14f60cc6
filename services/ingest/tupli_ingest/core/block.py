"""What a block writes into step tables: the rows of many records, with the columns that place them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tupli_ingest.core.headers import EpisodeFacts
from tupli_ingest.core.ports import EpisodeKey, step_rows_schema
from tupli_schemas.index import index_rows
from tupli_schemas.records import Position
from tupli_schemas.steps import Layout


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one record that stand under one benchmark."""

    batch: pa.RecordBatch
    stream: bytes
    owner: bytes
    benchmark: bytes
    position: Position


@dataclass(frozen=True, slots=True)
class Move:
    """Rows that were kept under `NO_BENCHMARK` until their start came: read there, write where they belong."""

    source: EpisodeKey
    target: EpisodeKey


@dataclass(frozen=True, slots=True)
class Check:
    """Rows of one episode whose numbers had come before: to be compared with those in the store."""

    episode: EpisodeFacts
    layout: Layout
    batch: pa.RecordBatch
    offset: int


@dataclass(slots=True)
class Block:
    """What records have led to since the last block was written, apart from facts.

    `markers` are headers, by their episode, in which nothing is folded, of the episodes with rows under
    `NO_BENCHMARK`. Written before anything else, they tell whoever comes later that there may be rows to erase,
    whenever this one dies.
    """

    pieces: dict[str, tuple[Layout, list[Piece]]] = field(default_factory=dict)
    markers: dict[bytes, EpisodeFacts] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    erasures: list[EpisodeKey] = field(default_factory=list)
    bytes: int = 0
    rows: int = 0
    _whole: list[tuple[Layout, pa.RecordBatch]] = field(default_factory=list)

    def add(self, layout: Layout, piece: Piece) -> None:
        """Add rows."""
        self.pieces.setdefault(layout.text, (layout, []))[1].append(piece)
        self.rows += piece.batch.num_rows

    def step_rows(self) -> list[tuple[Layout, pa.RecordBatch]]:
        """All rows, layout by layout, as they are written (`step_rows_schema`); asked again, the same ones.

        The records' own bodies are let go of as their rows are put together: the store's work needs the
        memory.
        """
        for text in list(self.pieces):
            self._put_together(text)
        return list(self._whole)

    def _put_together(self, text: str) -> None:
        layout, pieces = self.pieces[text]
        self._whole.append((layout, _rows_of_pieces(layout, pieces)))
        del self.pieces[text]


def placed_rows(layout: Layout, key: EpisodeKey, stored: pa.RecordBatch) -> pa.RecordBatch:
    """Rows as they were read (`stored_rows_schema`), to be written under another key."""
    rows = stored.num_rows
    columns = {name: stored.column(name) for name in stored.schema.names}
    for name, value in (("benchmark", key.benchmark), ("owner", key.owner), ("episode", key.episode)):
        columns[name] = _ids(np.tile(np.frombuffer(value, np.uint8), (rows, 1)))
    return _with_index(layout, columns)


def _rows_of_pieces(layout: Layout, pieces: Sequence[Piece]) -> pa.RecordBatch:
    table = pa.Table.from_batches([piece.batch for piece in pieces]).combine_chunks()
    columns = {name: _whole(table.column(name)) for name in table.schema.names}
    counts = np.array([piece.batch.num_rows for piece in pieces])
    columns["benchmark"] = _ids(_repeat([piece.benchmark for piece in pieces], counts))
    columns["owner"] = _ids(_repeat([piece.owner for piece in pieces], counts))
    episodes = _repeat([piece.stream for piece in pieces], counts)
    ordinals = columns["episode"].to_numpy().astype(">u4")
    episodes[:, 12:] = ordinals.view(np.uint8).reshape(-1, 4)
    columns["episode"] = _ids(episodes)
    for name, kind in (("generation", np.uint32), ("partition", np.uint32), ("offset", np.uint64)):
        values = np.array([getattr(piece.position, name) for piece in pieces], dtype=kind)
        columns["log_generation" if name == "generation" else name] = pa.array(np.repeat(values, counts))
    return _with_index(layout, columns)


def _with_index(layout: Layout, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    index = index_rows(columns["info"])
    columns |= {
        "info_num": index.num,
        "info_int": index.int_,
        "info_str": index.str_,
        "info_other": index.other,
    }
    schema = step_rows_schema(layout)
    return pa.RecordBatch.from_arrays([columns[item.name].cast(item.type) for item in schema], schema=schema)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _repeat(ids: list[bytes], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    return np.repeat(np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16), counts, axis=0)


def _ids(values: npt.NDArray[np.uint8]) -> pa.Array:
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(values), [None, buffer])
