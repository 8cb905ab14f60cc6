"""What was loaded in the forms of others: lists of tuples, and a data frame."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from support.query_calls import StorageOver
from support.store_fill import StoreFill, array_schema, random_rows
from tupli.datasets.tupli_dataset import TupliDataset
from tupli.errors import InvalidInput
from tupli_query.adapters.chdb_reader import ChdbReader
from tupli_schemas.values import encode

SCHEMA = array_schema("f4[3]", "i8[]")
LENGTHS = (3, 4)
EPISODES = [
    random_rows(
        SCHEMA,
        length,
        seed=n,
        ordinal=n + 1,
        terminated=n == 0,
        truncated=n == 1,
        infos=[encode({"n": n, "step": i}) for i in range(length)],
    )
    for n, length in enumerate(LENGTHS)
]
REWARDS = np.concatenate([rows.reward for rows in EPISODES])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TupliDataset]:
    path = tmp_path_factory.mktemp("store")
    with StoreFill(path) as fill:
        fill.benchmark("bench")
        fill.episodes(SCHEMA, EPISODES)
        reader = ChdbReader(str(path), max_sessions=3)
        yield TupliDataset(StorageOver(reader)).load()
        reader.close()


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_batches_of_tuples_have_every_tuple_in_order(dataset: TupliDataset, size: int) -> None:
    batches = list(dataset.as_batch_generator(size))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    tuples = [item for batch in batches for item in batch]
    np.testing.assert_array_equal([item.reward for item in tuples], REWARDS)
    np.testing.assert_array_equal([item.state for item in tuples], dataset.observations)
    assert [item.info["n"] for item in tuples] == [0] * 3 + [1] * 4
    assert [item.terminal for item in tuples] == [False, False, True, False, False, False, False]
    assert [item.timeout for item in tuples] == [False] * 6 + [True]


def test_shuffled_batches_of_tuples_are_those_of_the_seed(dataset: TupliDataset) -> None:
    def shuffled(seed: int) -> list[float]:
        dataset.set_seed(seed)
        return [item.reward for batch in dataset.as_batch_generator(2, shuffle=True) for item in batch]

    assert shuffled(1) == shuffled(1) != shuffled(2)
    assert sorted(shuffled(3)) == sorted(REWARDS)


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_no_rows_are_no_batch(dataset: TupliDataset, size: Any) -> None:
    for make in (dataset.as_batch_generator, dataset.batches):
        with pytest.raises(InvalidInput, match="no batch") as caught:
            make(size)
        assert caught.value.place == "batch_size"


def test_a_data_frame_has_a_row_a_tuple(dataset: TupliDataset) -> None:
    frame = dataset.convert_to_dataframe()
    assert list(frame.columns) == [
        "state", "action", "reward", "info", "terminal", "timeout", "episode", "step",
    ]  # fmt: skip
    np.testing.assert_array_equal(np.stack(list(frame["state"])), dataset.observations)
    np.testing.assert_array_equal(frame["action"], np.concatenate([rows.action for rows in EPISODES]))
    np.testing.assert_array_equal(frame["reward"], REWARDS)
    assert [info["step"] for info in frame["info"]] == [0, 1, 2, 0, 1, 2, 3]
    assert frame["episode"].tolist() == [0] * 3 + [1] * 4
    assert frame["step"].tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert frame["terminal"].tolist() == dataset.terminals.tolist() == [False, False, True, *[False] * 4]
    assert frame["timeout"].tolist() == dataset.timeouts.tolist() == [False] * 6 + [True]
