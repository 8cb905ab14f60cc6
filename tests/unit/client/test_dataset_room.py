"""Room is made for what comes: a few wide rows take what they take, and not what 65,536 would."""

import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
import xxhash

from tupli.datasets.estimate import MAX_ROOM_BYTES, MAX_ROOM_ROWS, room_rows
from tupli.datasets.tupli_dataset import TupliDataset
from tupli.models import RLTuple
from tupli.storage.api import TupliAPIClient
from tupli_schemas.filters import F
from tupli_schemas.framing import Kind, encode_frame, packed_checksum
from tupli_schemas.ids import episode_id, id_text, make_id
from tupli_schemas.steps import Cell, Leaf, StepSchema

IMAGE = (400, 600, 3)
SCHEMA = StepSchema((Leaf("", Cell("u1", IMAGE)),), (Leaf("", Cell("i8")),))
EPISODE = episode_id(make_id(1, 2), 1)
STEPS = 5
ALLOWED = 256 << 20
"""Bytes; 65,536 of the images are 44 GiB."""


class Images:
    """A read side with one episode of images, whose i-th has i in every pixel; each row is a block of its own."""

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
        yield self._frames()

    def _frames(self) -> Iterator[bytes]:
        head = {
            "type": "dataset", "step_schema": SCHEMA.to_json(), "columns": ["o0"], "position": [], "episodes": 1,
            "tuples": STEPS,
        }  # fmt: skip
        header = {"id": id_text(EPISODE), "n_tuples": STEPS, "return": 0.0}
        page = {"type": "page", "first": 0, "after": None, "ids": [header["id"]], "headers": [header]}
        yield encode_frame(Kind.QUERY_HEADER, orjson.dumps(head))
        yield encode_frame(Kind.QUERY_HEADER, orjson.dumps(page))
        checksum = xxhash.xxh3_64()
        for step in range(STEPS):
            payload = _row(step)
            checksum.update(packed_checksum(xxhash.xxh3_64_intdigest(payload)))
            yield encode_frame(Kind.ARROW, payload)
        close = {"rows": STEPS, "checksum": checksum.hexdigest(), "cursor": None}
        yield encode_frame(Kind.CLOSE, orjson.dumps(close))


def _row(step: int) -> bytes:
    pixels = pa.array(np.full(np.prod(IMAGE), step, np.uint8))
    table = pa.table(
        {
            "episode": pa.array([EPISODE], pa.binary(16)),
            "step": pa.array([step], pa.uint64()),
            "is_match": pa.array([1], pa.uint8()),
            "o0": pa.ListArray.from_arrays([0, len(pixels)], pixels),
            "a0": pa.array([0], pa.int64()),
            "reward": pa.array([float(step)]),
            "terminated": pa.array([0], pa.uint8()),
            "truncated": pa.array([0], pa.uint8()),
            "info": pa.array([b"{}"], pa.binary()),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.fixture
def dataset() -> TupliDataset:
    storage = TupliAPIClient("http://127.0.0.1:9", "")
    storage.query = Images()  # type: ignore[assignment]  # the port is the same
    return TupliDataset(storage)


def _whole(dataset: TupliDataset) -> list[Any]:
    return [image for episode in dataset.iter_episodes() for image in episode.observations]


def _table(dataset: TupliDataset) -> list[Any]:
    return list(dataset.to_numpy(["observation"])["observation"])


def _batches(dataset: TupliDataset) -> list[Any]:
    return [image for batch in dataset.batches(65_536) for image in batch["observation"]]


def _keep(item: RLTuple) -> bool:
    return bool(item.reward >= 0)


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(_whole, id="iter_episodes"),
        pytest.param(_table, id="to_numpy"),
        pytest.param(_batches, id="batches"),
        pytest.param(lambda data: _batches(data.with_tuple_filter(F("reward") >= 0)), id="batches, filter"),
        pytest.param(lambda data: _table(data.with_tuple_filter(_keep)), id="a function"),
        pytest.param(lambda data: _batches(data.with_tuple_filter(_keep)), id="batches, a function"),
        pytest.param(lambda data: _table(data.with_tuple_filter(F("reward") >= 0)), id="a filter"),
        pytest.param(lambda data: _table(data.limit(STEPS)), id="a limit"),
    ],
)
def test_a_few_wide_rows_take_little(dataset: TupliDataset, read: Callable[[Any], list[Any]]) -> None:
    tracemalloc.start()
    try:
        images = read(dataset)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [int(image[0, 0, 0]) for image in images] == list(range(STEPS))
    assert peak < ALLOWED


def test_room_is_bounded_by_rows_and_by_bytes() -> None:
    def rows(cell: str) -> int:
        return room_rows(StepSchema((Leaf("", Cell.parse(cell)),), (Leaf("", Cell("i8")),)))

    assert rows("f4[17]") == MAX_ROOM_ROWS
    assert 1 < rows("u1[400,600,3]") <= MAX_ROOM_BYTES // (2 * 720_000)
    assert rows("u1[8000000]") * 16_000_000 <= MAX_ROOM_BYTES


def test_more_parts_than_room_lose_no_row(dataset: TupliDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tupli.datasets.estimate.MAX_ROOM_ROWS", 2)
    for read in (_whole, _table, _batches):
        assert len(read(dataset)) == STEPS
    assert len(_table(dataset.with_tuple_filter(_keep))) == STEPS
    assert len(_table(dataset.with_tuple_filter(_keep).limit(3))) == 3
    parts = dataset.with_tuple_filter(_keep)._reading(["reward"]).parts(100)
    assert [len(episode) for _, episode, _ in parts] == [2, 2, 1]
