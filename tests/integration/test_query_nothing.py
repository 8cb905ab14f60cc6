"""Datasets without episodes: their arrays of nothing are typed and shaped as those of the benchmark's others."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from support.query_calls import StorageOver
from support.store_fill import Rows, StoreFill, array_schema, random_rows
from tupli.cli.pull import _batches
from tupli.datasets.tupli_dataset import TupliDataset, dataset
from tupli.datasets.words import WORDS
from tupli.errors import InvalidInput, NotFound
from tupli.export import export
from tupli_query.adapters.chdb_reader import ChdbReader
from tupli_query.core.sql import CompiledQuery
from tupli_schemas.filters import F
from tupli_schemas.ids import make_id
from tupli_schemas.steps import StepSchema

PLAIN = array_schema("f4[4]", "i8[]")
WITH_FACT = array_schema("f4[4]", "i8[]", extra="f4[2]")
WIDE = array_schema("f4[2,3]", "f8[1]")
NAMES = ("plain", "facts", "mixed", "begun", "mostly", "empty", "spaceless")
IDS = {name: make_id(1_700_000_000_000, 20 + i) for i, name in enumerate(NAMES)}
NOBODY = F("return") > 1e9
DESCRIPTOR = {
    "observation_space": {
        "type": "Dict",
        "spaces": [
            ["image", {"type": "Box", "dtype": "|u1", "shape": [2, 3]}],
            ["pair", {"type": "Tuple", "spaces": [{"type": "Text"}, {"type": "Box", "dtype": "<f2", "shape": [1]}]}],
        ],
    },
    "action_space": {"type": "Discrete", "n": 2, "dtype": "<i8"},
}  # fmt: skip
FIXED = {
    "reward": "float64", "terminated": "bool", "truncated": "bool", "has_next": "bool", "episode": "int64",
    "step": "int64", "time": "int64",
}  # fmt: skip


def _rows(schema: StepSchema, ordinal: int, name: str, **members: Any) -> Rows:
    rows = random_rows(schema, 3, seed=ordinal, ordinal=ordinal, benchmark=IDS[name], **members)
    return replace(rows, extra=[np.ones((3, 2), np.float32)]) if schema.extra else rows


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbReader]:
    path = tmp_path_factory.mktemp("store")
    live = {"status": "open", "terminated": False, "has_final": False}
    with StoreFill(path) as fill:
        for name in NAMES:
            descriptor = DESCRIPTOR if name in {"empty", "mixed"} else {}
            fill.benchmark(name, benchmark=IDS[name], descriptor=orjson.dumps(descriptor).decode())
        for ordinal, (schema, name, members) in enumerate(
            [
                (PLAIN, "plain", {}), (PLAIN, "plain", {}), (PLAIN, "facts", {}), (WITH_FACT, "facts", {}),
                (PLAIN, "mixed", {}), (WIDE, "mixed", {}), (WIDE, "begun", live), (PLAIN, "mostly", {}),
                (WIDE, "mostly", live),
            ],
            start=1,
        ):  # fmt: skip
            fill.episodes(schema, [_rows(schema, ordinal, name, **members)])
        made = ChdbReader(str(path), max_sessions=3)
        yield made
        made.close()


@pytest.fixture
def storage(reader: ChdbReader) -> StorageOver:
    return StorageOver(reader)


def _types(value: Any) -> Any:
    """Dtypes and shapes, but for the number of rows."""
    if isinstance(value, dict):
        return {name: _types(member) for name, member in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_types, value))
    array = np.asarray(value)
    return str(array.dtype), array.shape[1:]


def _empties(data: TupliDataset) -> list[TupliDataset]:
    nobody = data.with_episode_filter(NOBODY)
    return [
        nobody, nobody.order_by("-return").limit_episodes(3).limit(2), nobody.with_tuple_filter(F("reward") > 0),
        nobody.with_tuple_filter(lambda _: True), data.with_episode_filter(F("policy") == "nobody"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["plain", "facts", "mostly"])
def test_a_filter_that_matches_no_episode_gives_arrays_as_the_whole_benchmark(
    storage: StorageOver, name: str
) -> None:
    data = dataset(name, storage=storage)
    whole = data.to_numpy(WORDS)
    for nothing in _empties(data):
        table = nothing.to_numpy(WORDS)
        assert list(table) == list(whole)
        assert _types(table) == _types(whole)
        assert len(table["reward"]) == len(table["info"]) == 0
        assert (~table["terminated"]).all()
        assert list(nothing.batches(3)) == []
    assert list(data.with_episode_filter(NOBODY).iter_episodes()) == []
    assert _types(data.with_episode_filter(NOBODY).to_numpy("step")) == {"step": ("int64", ())}


def test_so_do_the_forms_of_what_was_loaded(storage: StorageOver) -> None:
    data = dataset("plain", storage=storage)
    whole, nothing = data.load(), data.with_episode_filter(NOBODY).load()
    assert _types(nothing.convert_to_tensors()) == _types(whole.convert_to_tensors())
    assert _types(nothing.convert_to_d4rl_format()) == _types(whole.convert_to_d4rl_format())
    assert (nothing.episodes, list(nothing.tuples), len(nothing.infos)) == ([], [], 0)
    preview = data.with_episode_filter(NOBODY).with_tuple_filter(F("reward") > 0).preview()
    assert (preview.n_episodes, preview.n_tuples) == (0, 0)


@pytest.mark.parametrize("name", ["plain", "facts"])
def test_so_do_files(storage: StorageOver, tmp_path: Path, name: str) -> None:
    data = dataset(name, storage=storage)
    for ending in ("parquet", "npz", "csv"):
        full, none = tmp_path / f"full.{ending}", tmp_path / f"none.{ending}"
        assert export(_batches(data, None), full) == 6
        assert export(_batches(data.with_episode_filter(NOBODY), None), none) == 0
    assert pq.read_schema(tmp_path / "none.parquet") == pq.read_schema(tmp_path / "full.parquet")
    with np.load(tmp_path / "full.npz") as one, np.load(tmp_path / "none.npz") as other:
        assert _types(dict(one)) == _types(dict(other))
    lines = [(tmp_path / file).read_text().splitlines() for file in ("full.csv", "none.csv")]
    assert lines[1] == lines[0][:1]


def test_a_chosen_step_schema_is_that_of_nothing(storage: StorageOver) -> None:
    for schema in (PLAIN, WIDE):
        chosen = dataset("mixed", storage=storage).with_step_schema(schema.layout.text)
        assert _types(chosen.with_episode_filter(NOBODY).to_numpy()) == _types(chosen.to_numpy())
    stranger = dataset("plain", storage=storage).with_step_schema("o=f8[];a=f8[];x=")
    assert len(stranger.with_episode_filter(NOBODY).to_numpy()["reward"]) == 0


def test_episodes_of_other_statuses_tell_it_where_no_others_do(storage: StorageOver) -> None:
    begun = dataset("begun", storage=storage)
    for data in (begun, begun.with_episode_filter(NOBODY)):
        assert _types(data.to_numpy()["observation"]) == ("float32", (2, 3))


@pytest.mark.parametrize("name", ["empty", "mixed"])
def test_without_a_step_schema_the_spaces_tell_what_was_declared(storage: StorageOver, name: str) -> None:
    data = dataset(name, storage=storage).with_episode_filter(NOBODY)
    table = data.to_numpy([word for word in WORDS if word != "extra"])
    observation = {"image": ("uint8", (2, 3)), "pair": (("object", ()), ("float16", (1,)))}
    assert _types(table) == {
        "observation": observation, "next_observation": observation, "action": ("int64", ()), "info": ("object", ()),
        **{word: (dtype, ()) for word, dtype in FIXED.items()},
    }  # fmt: skip
    assert _types(data.load().observations) == observation


@pytest.mark.parametrize("name", ["spaceless", None])
def test_without_spaces_too_the_other_words_are_typed(storage: StorageOver, name: str | None) -> None:
    data = dataset(name, storage=storage)
    if name is None:
        data = data.with_benchmark_filter(F("name") == "nope")
    table = data.to_numpy(WORDS)
    unknown = dict.fromkeys(("observation", "action", "next_observation"), ("float64", ()))
    assert _types(table) == {
        **unknown, **{word: (dtype, ()) for word, dtype in FIXED.items()}, "info": ("object", ()), "extra": {},
        "has_extra": {},
    }  # fmt: skip
    assert [array.shape for array in data.load().convert_to_tensors()] == [(0,)] * 5


def test_a_benchmark_that_does_not_exist_is_still_told(storage: StorageOver) -> None:
    with pytest.raises(NotFound, match="no benchmark nope"):
        dataset("nope", storage=storage).with_episode_filter(NOBODY).to_numpy()


def test_a_tuple_filter_is_read_as_for_the_whole_benchmark(storage: StorageOver) -> None:
    data = dataset("plain", storage=storage).with_episode_filter(NOBODY)
    for read in (data.with_tuple_filter(F("observation[9]") > 0).to_numpy,
                 data.with_tuple_filter(F("observation[9]") > 0).preview):  # fmt: skip
        with pytest.raises(InvalidInput, match="out of range"):
            read()


def test_only_a_dataset_without_episodes_costs_another_query(
    storage: StorageOver, reader: ChdbReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[str] = []
    was = reader.select

    def noting(statement: CompiledQuery) -> list[dict[str, Any]]:
        if "count() AS episodes" in statement.text:
            counts.append(statement.text)
        return was(statement)

    monkeypatch.setattr(reader, "select", noting)
    data = dataset("plain", storage=storage)
    for some in (
        data,
        data.with_episode_filter(F("return") > -1e9),
        data.with_tuple_filter(F("reward") > 1e9),
    ):
        some.to_numpy()
    assert counts == []
    data.with_episode_filter(NOBODY).to_numpy()
    assert len(counts) == 1
    dataset("begun", storage=storage).to_numpy()
    assert len(counts) == 2
