"""Which episodes are read together, and what chooses among those that are not."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from support.query_calls import StorageOver
from support.store_fill import StoreFill, array_schema, episode_ids, random_rows
from tupli.datasets.tupli_dataset import TupliDataset, dataset
from tupli.errors import Conflict, InvalidInput, NotFound
from tupli_query.adapters.chdb_reader import ChdbReader
from tupli_schemas.catalog import Command, Delete, Publish
from tupli_schemas.filters import F
from tupli_schemas.ids import make_id, parse_id
from tupli_schemas.steps import Leaf, StepSchema

SINGLE = replace(
    array_schema("f4[4]", "i8[]"),
    action_structure={"kind": "array", "dtype": "<i8", "shape": [], "box": "python"},
    reward_dtype="int64",
    observation_space={"type": "Box", "high": 1},
)
VECTOR = replace(
    array_schema("f4[4]", "i8[]"),
    action_structure={"kind": "array", "dtype": "<i8", "shape": [], "box": "scalar"},
    reward_dtype="float32",
    observation_space={"type": "Box", "high": 2},
)
NAMED = replace(
    SINGLE,
    observation=(Leaf(".position", SINGLE.observation[0].cell),),
    observation_structure={"kind": "dict", "items": [["position", SINGLE.observation_structure]]},
)
OTHER = array_schema("f4[2]", "i8[]")
ALIKE, MIXED, RENAMED, EMPTY = (make_id(1_700_000_000_000, 10 + i) for i in range(4))


def _rows(schema: StepSchema, ordinal: int, benchmark: bytes) -> Any:
    return random_rows(schema, 3 + ordinal, seed=ordinal, ordinal=ordinal, benchmark=benchmark)


ALIKE_ROWS = [_rows(SINGLE, 1, ALIKE), _rows(VECTOR, 2, ALIKE)]
MIXED_ROWS = [_rows(SINGLE, 3, MIXED), _rows(OTHER, 4, MIXED), _rows(VECTOR, 5, MIXED)]
RENAMED_ROWS = [_rows(SINGLE, 6, RENAMED), _rows(NAMED, 7, RENAMED)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbReader]:
    path = tmp_path_factory.mktemp("store")
    with StoreFill(path) as fill:
        for name, benchmark in (("alike", ALIKE), ("mixed", MIXED), ("renamed", RENAMED), ("empty", EMPTY)):
            fill.benchmark(name, benchmark=benchmark)
        rows = (*ALIKE_ROWS, *MIXED_ROWS, *RENAMED_ROWS)
        schemas = (SINGLE, VECTOR, SINGLE, OTHER, VECTOR, SINGLE, NAMED)
        for schema, item in zip(schemas, rows, strict=True):
            fill.episodes(schema, [item])
        made = ChdbReader(str(path), max_sessions=3)
        yield made
        made.close()


class Commands:
    """Stands for the write side, and keeps what it is told."""

    def __init__(self) -> None:
        self.sent: list[Command] = []

    def command(self, command: Command) -> dict[str, Any]:
        """Keep it."""
        self.sent.append(command)
        return {}


@pytest.fixture
def storage(reader: ChdbReader) -> StorageOver:
    storage = StorageOver(reader)
    storage.transport = Commands()  # type: ignore[assignment]  # all that datasets need of it
    return storage


def _sent(storage: StorageOver) -> list[Command]:
    assert isinstance(storage.transport, Commands)
    return storage.transport.sent


def test_rewards_are_float64_whatever_the_first_one_was(storage: StorageOver) -> None:
    first = dataset("alike", storage=storage).limit_episodes(1)
    rewards = first.to_numpy()["reward"]
    assert rewards.dtype == np.float64
    np.testing.assert_array_equal(rewards, ALIKE_ROWS[0].reward)
    (episode,) = first.iter_episodes()
    np.testing.assert_array_equal(episode.rewards, ALIKE_ROWS[0].reward)
    assert [item.reward for item in first.load().tuples] == ALIKE_ROWS[0].reward.tolist()


def test_schemas_that_give_the_same_arrays_are_read_together(storage: StorageOver) -> None:
    table = dataset("alike", storage=storage).to_numpy()
    for word in ("observation", "action", "reward"):
        expected = [getattr(rows, word)[: rows.n_steps] for rows in ALIKE_ROWS]
        np.testing.assert_array_equal(table[word], np.concatenate(expected))
    assert [len(episode) for episode in dataset("alike", storage=storage).iter_episodes()] == [4, 5]


def test_a_conflict_says_what_differs_and_what_helps(storage: StorageOver) -> None:
    with pytest.raises(Conflict, match=r"with_step_schema\(id\)") as caught:
        dataset("mixed", storage=storage).to_numpy()
    assert "(2 episodes) has observation f4[4]; " in str(caught.value)
    assert "(1 episodes) has observation f4[2]" in str(caught.value)
    with pytest.raises(Conflict, match=r"has observation\.position f4\[4\]"):
        dataset("renamed", storage=storage).to_numpy()


def _id(data: TupliDataset, tuples: int) -> str:
    """The id of the step schema that so many tuples have."""
    with pytest.raises(Conflict) as caught:
        data.to_numpy()
    assert caught.value.problem is not None
    (found,) = (item for item in caught.value.problem.members["schemas"] if item["tuples"] == tuples)
    return str(found["id"])


@pytest.mark.parametrize("by_layout", [True, False])
def test_a_step_schema_chooses_headers_too(storage: StorageOver, by_layout: bool) -> None:  # noqa: FBT001 -- a parameter
    data = dataset("mixed", storage=storage)
    name = SINGLE.layout.text if by_layout else _id(data, 6 + 8)
    chosen = data.with_step_schema(name)
    ids = episode_ids([MIXED_ROWS[0], MIXED_ROWS[2]])
    assert [header.id for header in chosen.preview()] == ids
    assert chosen.preview().n_tuples == len(chosen.to_numpy()["reward"]) == 14
    assert sorted(header.id for header in chosen.sample_episodes(9)) == ids
    assert len(chosen.limit_episodes(1).preview()) == 1
    assert chosen.publish("team") == chosen.delete() == 2
    publish, delete = _sent(storage)
    assert isinstance(publish, Publish)
    assert isinstance(delete, Delete)
    assert publish.ids == delete.ids == tuple(map(parse_id, ids))


def test_a_schema_tells_episodes_of_one_layout_apart(storage: StorageOver) -> None:
    data = dataset("renamed", storage=storage)
    chosen = data.with_step_schema(_id(data, 10))
    assert chosen.delete() == 1
    assert [item.ids for item in _sent(storage) if isinstance(item, Delete)] == [(RENAMED_ROWS[1].id,)]


def test_a_schema_that_nobody_has_deletes_nothing(storage: StorageOver) -> None:
    with pytest.raises(InvalidInput, match="step schemas"):
        dataset("mixed", storage=storage).with_step_schema("o=f8[];a=f8[];x=").delete()
    assert _sent(storage) == []


def test_what_chooses_tuples_neither_deletes_nor_publishes_episodes(storage: StorageOver) -> None:
    data = dataset("alike", storage=storage)
    for part in (
        data.limit(1),
        data.with_tuple_filter(F("reward") > 0),
        data.with_tuple_filter(lambda _: True),
    ):
        for act in (part.delete, part.publish):
            with pytest.raises(InvalidInput, match="whole"):
                act()
    assert _sent(storage) == []
    assert data.limit_episodes(1).delete() == 1


def test_a_named_benchmark_has_to_exist(storage: StorageOver) -> None:
    data = dataset("nope", storage=storage)
    reads = (
        data.to_numpy, data.load, data.preview, data.delete, lambda: list(data.batches(5)),
        lambda: list(data.iter_episodes()), data.with_tuple_filter(lambda _: True).to_numpy,
        data.with_tuple_filter(F("reward") > 0).preview,
    )  # fmt: skip
    for read in reads:
        with pytest.raises(NotFound, match="no benchmark nope"):
            read()
    assert len(dataset("empty", storage=storage).to_numpy()["reward"]) == 0
    assert len(dataset("alike", storage=storage).limit(0).to_numpy()["reward"]) == 0
    assert len(data.with_benchmark_filter(F("name") == "nope").to_numpy()["reward"]) == 0


def test_a_preview_does_not_count_what_a_function_leaves(storage: StorageOver) -> None:
    data = dataset("alike", storage=storage)
    preview = data.with_tuple_filter(lambda item: item.reward > 0).preview()
    assert (preview.n_episodes, preview.n_tuples) == (2, None)
    assert repr(preview) == "<2 episodes, ? tuples>"
    assert data.with_tuple_filter(F("reward") > 1e9).preview().n_tuples == 0
