"""Episodes without a tuple: every way to read a dataset says the same of them."""

from collections.abc import Iterator

import numpy as np
import pytest

from support.query_calls import StorageOver
from support.store_fill import Rows, StoreFill, array_schema, episode_ids, random_rows
from tupli.datasets.tupli_dataset import TupliDataset
from tupli_query.adapters.chdb_reader import ChdbReader
from tupli_query.core import pages
from tupli_schemas.filters import F

SCHEMA = array_schema("f4[3]", "i8[]")
LENGTHS = (0, 3, 0, 0, 2, 4, 0)
"""Those without a step stand for what other recorders send, and for episodes that have only begun."""


def _rows(ordinal: int, length: int) -> Rows:
    ended = length > 0
    return random_rows(
        SCHEMA, length, seed=ordinal, ordinal=ordinal, terminated=ended, aborted=not ended, has_final=ended
    )


EPISODES = [_rows(i, length) for i, length in enumerate(LENGTHS, start=1)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbReader]:
    path = tmp_path_factory.mktemp("store")
    with StoreFill(path) as fill:
        fill.benchmark("bench")
        fill.episodes(SCHEMA, EPISODES)
        reader = ChdbReader(str(path), max_sessions=3)
        yield reader
        reader.close()


@pytest.fixture
def dataset(reader: ChdbReader) -> TupliDataset:
    return TupliDataset(StorageOver(reader))


@pytest.fixture(params=[pages.MAX_PAGE_ROWS, 3], ids=["one page", "many pages"], autouse=True)
def _page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tupli_query.core.datasets.MAX_PAGE_ROWS", request.param)


@pytest.mark.parametrize("limit", [None, 0, 1, 2, 3, 5, 7])
def test_every_reading_has_the_episodes_of_the_preview(dataset: TupliDataset, limit: int | None) -> None:
    data = dataset.limit_episodes(limit)
    expected = episode_ids(EPISODES[:limit])
    assert [header.id for header in data.preview()] == expected
    assert [episode.header.id for episode in data.iter_episodes()] == expected
    assert [header.id for header in data.load().episodes] == expected
    assert [len(episode) for episode in data.iter_episodes()] == list(LENGTHS[:limit])
    assert data.preview().n_tuples == len(data.to_numpy()["reward"]) == sum(LENGTHS[:limit])


def test_the_number_of_an_episode_is_its_place_in_the_preview(dataset: TupliDataset) -> None:
    numbers = dataset.to_numpy(["episode"])["episode"]
    np.testing.assert_array_equal(numbers, np.repeat(np.arange(len(LENGTHS)), LENGTHS))


def test_an_episode_without_a_tuple_has_arrays_of_none(dataset: TupliDataset) -> None:
    empty, full, *_ = dataset.iter_episodes()
    for name in ("observations", "actions", "rewards", "terminated", "truncated"):
        one, other = getattr(empty, name), getattr(full, name)
        assert (one.dtype, one.shape) == (other.dtype, (0, *other.shape[1:]))
    assert len(empty.infos) == 0


def test_episodes_that_a_tuple_filter_leaves_without_a_tuple_still_count(dataset: TupliDataset) -> None:
    data = dataset.with_tuple_filter(F("step") >= 3).limit_episodes(6)
    assert [header.id for header in data.preview()] == episode_ids(EPISODES[:6])
    assert [header.id for header in data.load().episodes] == episode_ids(EPISODES[:6])
    assert data.preview().n_tuples == len(data.rewards) == 1


def test_they_are_left_out_when_somebody_says_so(dataset: TupliDataset) -> None:
    data = dataset.with_episode_filter(F("n_tuples") > 0).limit_episodes(2)
    expected = episode_ids([EPISODES[1], EPISODES[4]])
    assert [header.id for header in data.preview()] == expected
    assert [episode.header.id for episode in data.iter_episodes()] == expected


def test_a_dataset_of_nothing_else_can_be_read(dataset: TupliDataset) -> None:
    data = dataset.with_episode_filter(F("n_tuples") == 0)
    assert [len(episode) for episode in data.iter_episodes()] == [0, 0, 0, 0]
    assert data.load().observations.shape == (0, 3)
    assert len(data.episodes) == 4
