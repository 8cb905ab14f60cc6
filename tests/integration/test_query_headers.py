"""Headers of any size through the real engine: read in portions, sent in parts, every one of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from support.query_calls import InProcessQuery, StorageOver
from support.store_fill import StoreFill, array_schema, episode_ids, random_rows
from tupli.datasets.tupli_dataset import TupliDataset
from tupli.errors import Conflict
from tupli_query.adapters.chdb_reader import ChdbReader
from tupli_query.core import datasets
from tupli_query.core.headers import HEADER_PORTION_BYTES
from tupli_query.core.pages import EpisodePage
from tupli_query.core.planning import Plan
from tupli_query.core.reader import StoreReader
from tupli_schemas.filters import F
from tupli_schemas.framing import MAX_FRAME_BYTES, Kind, decode_frames

SCHEMA = array_schema("f4[3]", "i8[]")
SIZES = (0, 3, 3, 3, 0, 18, 0, 3)
"""Megabytes of each episode's metadata; the largest is above a frame."""
EPISODES = [
    random_rows(SCHEMA, 2 + n % 3, seed=n, ordinal=n, metadata={"n": n}) for n in range(1, len(SIZES) + 1)
]
ORDERS: list[tuple[str, ...]] = [(), ("-n_tuples",)]


def filled(path: Path) -> Iterator[tuple[ChdbReader, StoreFill]]:
    """A store with the small episodes."""
    with StoreFill(path) as fill:
        fill.benchmark("bench")
        fill.episodes(SCHEMA, EPISODES)
        reader = ChdbReader(str(path), max_sessions=3)
        yield reader, fill
        reader.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[ChdbReader, StoreFill]]:
    yield from filled(tmp_path)


@pytest.fixture
def large(store: tuple[ChdbReader, StoreFill]) -> tuple[ChdbReader, StoreFill]:
    """The same, with the large metadata."""
    _, fill = store
    sizes = ", ".join(map(str, SIZES))
    number = "reinterpretAsUInt8(substring(episode, 16))"
    blob = f"arrayStringConcat(arrayMap(i -> repeat('x', 1000000), range([{sizes}][{number}])))"
    fill.command(
        f"ALTER TABLE {fill.database}.episodes UPDATE metadata = concat('{{\"blob\":\"', {blob}, '\"}}') "
        "WHERE 1 SETTINGS mutations_sync = 1"
    )
    return store


def blobs(headers: Any) -> list[int]:
    return [len(header.metadata.get("blob", "")) // 1_000_000 for header in headers]


class Watched(InProcessQuery):
    """Notes how much comes at a time: each page of a listing, and each frame of a dataset."""

    def __init__(self, reader: ChdbReader) -> None:
        super().__init__(reader)
        self.listings: list[int] = []
        self.frames: list[tuple[Kind, int]] = []

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
        _, data = self.post(path, orjson.dumps(body))
        yield iter([data])

    def post(self, path: str, body: bytes) -> tuple[dict[str, str], bytes]:
        headers, data = super().post(path, body)
        if path.endswith("/datasets/query"):
            self.frames += [(frame.kind, len(frame.payload)) for frame in decode_frames(data)]
        else:
            self.listings.append(len(data))
        return headers, data


@pytest.mark.parametrize("order", ORDERS)
def test_headers_of_every_size_come_with_a_dataset(
    large: tuple[ChdbReader, StoreFill], order: tuple[str, ...]
) -> None:
    query = Watched(large[0])
    data = TupliDataset(StorageOver(large[0], query)).order_by(*order).load()
    expected = sorted(range(len(SIZES)), key=lambda i: -EPISODES[i].n_steps if order else 0)
    assert [header.id for header in data.episodes] == episode_ids(EPISODES[i] for i in expected)
    assert blobs(data.episodes) == [SIZES[i] for i in expected]
    assert len(data.rewards) == sum(rows.n_steps for rows in EPISODES)
    assert [size for kind, size in query.frames if kind is Kind.PART] == [MAX_FRAME_BYTES]
    pages = [size for kind, size in query.frames if kind is Kind.QUERY_HEADER]
    assert max(pages) < 2 * HEADER_PORTION_BYTES
    assert [len(episode) for episode in data.iter_episodes()] == [EPISODES[i].n_steps for i in expected]


@pytest.mark.parametrize("order", ORDERS)
def test_a_listing_ends_where_it_is_large_and_goes_on_behind(
    large: tuple[ChdbReader, StoreFill], order: tuple[str, ...]
) -> None:
    query = Watched(large[0])
    data = TupliDataset(StorageOver(large[0], query)).order_by(*order)
    assert sorted(blobs(data.preview())) == sorted(SIZES)
    assert [header.id for header in data.preview()] == [header.id for header in data.load().episodes]
    assert max(query.listings) > 18_000_000
    assert all(size < HEADER_PORTION_BYTES + 100_000 for size in query.listings if size < 18_000_000)
    body = {"step_schema": SCHEMA.layout.text, "limit": 3}
    first = query.ask("/query/v1/episodes/list", body)
    assert [header["id"] for header in first["episodes"]] == episode_ids(EPISODES[:2])
    rest = query.ask("/query/v1/episodes/list", body | {"cursor": first["cursor"]})
    assert [header["id"] for header in rest["episodes"]] == episode_ids(EPISODES[2:3])


def test_the_store_measures_a_header_as_it_writes_it(large: tuple[ChdbReader, StoreFill]) -> None:
    _, fill = large
    texts = "length(metadata) + length(run) + length(arrayStringConcat(publish_in))"
    sizes = fill.command(
        f"SELECT countIf(header_bytes - ({texts}) BETWEEN 16 AND 99) FROM {fill.database}.episodes FINAL"
    )
    assert int(sizes) == len(SIZES)
    kind = fill.command(
        "SELECT default_kind FROM system.columns "
        f"WHERE database = '{fill.database}' AND table = 'episodes' AND name = 'header_bytes'"
    )
    assert kind == "MATERIALIZED"


def deleting(fill: StoreFill, episode: bytes) -> Callable[[StoreReader, Plan], Iterator[EpisodePage]]:
    """The pages of a dataset; the episode is deleted before each is read."""
    whole = datasets.pages

    def pages(reader: StoreReader, made: Plan) -> Iterator[EpisodePage]:
        for page in whole(reader, made):
            fill.command(
                f"INSERT INTO {fill.database}.deletions (kind, id, subject, deleted_at, version) "
                f"SELECT 'episode', episode, owner, 1, 1 FROM {fill.database}.episodes "
                f"WHERE episode = unhex('{episode.hex()}')"
            )
            yield page

    return pages


def test_an_episode_that_is_gone_behind_the_listing_is_a_conflict(
    store: tuple[ChdbReader, StoreFill], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, fill = store
    monkeypatch.setattr(datasets, "pages", deleting(fill, EPISODES[-1].id))
    with pytest.raises(Conflict, match="read it again"):
        TupliDataset(StorageOver(reader)).load()
    assert len(TupliDataset(StorageOver(reader)).load().episodes) == len(EPISODES) - 1


def test_stored_json_goes_through_as_it_stands(store: tuple[ChdbReader, StoreFill]) -> None:
    reader, fill = store
    strange = {"é": [1, 1.0, None, "\u2028\x7f"], "nested": {"a.b": {}, "deep": [[[]]]}}
    text = orjson.dumps(strange).hex()
    fill.command(
        f"ALTER TABLE {fill.database}.episodes UPDATE reset_info = unhex('{text}') "
        f"WHERE episode = unhex('{EPISODES[0].id.hex()}') SETTINGS mutations_sync = 1"
    )
    answer = InProcessQuery(reader).ask("/query/v1/episodes/list", {"limit": 1})
    assert answer["episodes"][0]["reset_info"] == strange


@pytest.mark.parametrize("ordinal", [2, 5])
def test_an_episode_that_is_deleted_while_a_filter_reads_is_told(
    store: tuple[ChdbReader, StoreFill], ordinal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows may be gone, and a filter would hide that; the deletion of another one is nobody's trouble."""
    reader, fill = store
    data = TupliDataset(StorageOver(reader)).with_tuple_filter(F("step") >= 0)
    kept = data.with_episode_filter(F("n") < 4)
    monkeypatch.setattr(datasets, "pages", deleting(fill, EPISODES[ordinal - 1].id))
    if ordinal < 4:
        with pytest.raises(Conflict, match="read it again"):
            kept.to_numpy(["step"])
    else:
        assert len(kept.to_numpy(["step"])["step"]) == sum(rows.n_steps for rows in EPISODES[:3])
