"""Episodes with and without extra facts are one dataset: what is there comes back, what is absent is told."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from support.query_calls import InProcessQuery, StorageOver
from support.store_fill import Rows, StoreFill, array_schema, random_rows
from tupli.datasets.stream import DatasetStream
from tupli.datasets.tupli_dataset import TupliDataset, dataset
from tupli.errors import Conflict, InvalidInput
from tupli_query.adapters.chdb_reader import ChdbReader
from tupli_query.core import planning
from tupli_schemas.filters import F
from tupli_schemas.framing import HEADER
from tupli_schemas.ids import make_id
from tupli_schemas.spaces import structure_of_value
from tupli_schemas.steps import StepSchema
from tupli_schemas.structures import DictNode

BARE = array_schema("f4[3]", "i8[]")
BENCHMARK, CLASHING = (make_id(1_700_000_000_000, 20 + i) for i in range(2))


def _with(**facts: Any) -> StepSchema:
    structure = DictNode({name: structure_of_value(facts[name]) for name in sorted(facts)})
    return replace(BARE, extra=structure.leaves(), extra_structure=structure.to_json())


LOGPROB = _with(logprob=np.float32(0))
BOTH = _with(logprob=np.float32(0), name="a", value=np.zeros(2))
NAMES = _with(count=1, name="a")
DOUBLE = _with(logprob=np.float64(0))
LEAFLESS_SCHEMAS = [
    [_with(a=1.0, b=(), c={})],
    [_with(b=())],
    [_with(a=1.0, b=()), BARE, _with(c={}), _with(b=(), c={})],
    [BARE, _with(b=())],
]
"""Extra facts without leaves, a dataset each: last, alone, in some episodes, beside nothing."""


def _rows(schema: StepSchema, ordinal: int, benchmark: bytes = BENCHMARK) -> Rows:
    rows = random_rows(schema, 3 + ordinal, seed=ordinal, ordinal=ordinal, benchmark=benchmark)
    rng, n = np.random.default_rng(100 + ordinal), rows.n_steps
    for leaf in schema.extra:
        if leaf.cell.is_opaque:
            rows.extra.append(np.array([f"n{i}".encode() for i in range(n)], object))
        else:
            drawn = rng.standard_normal((n, *leaf.cell.shape)) * 10
            rows.extra.append(drawn.astype(leaf.cell.dtype))
    return rows


SCHEMAS = [LOGPROB, BARE, BOTH, NAMES, BARE, LOGPROB]
ROWS = [_rows(schema, i + 1) for i, schema in enumerate(SCHEMAS)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbReader]:
    path = tmp_path_factory.mktemp("store")
    with StoreFill(path) as fill:
        fill.benchmark("facts", benchmark=BENCHMARK)
        fill.benchmark("clashing", benchmark=CLASHING)
        for schema, rows in zip(SCHEMAS, ROWS, strict=True):
            fill.episodes(schema, [rows])
        for ordinal, schema in enumerate((LOGPROB, DOUBLE, BARE)):
            fill.episodes(schema, [_rows(schema, 10 + ordinal, CLASHING)])
        for number, schemas in enumerate(LEAFLESS_SCHEMAS):
            benchmark = make_id(1_700_000_000_000, 30 + number)
            fill.benchmark(f"leafless-{number}", benchmark=benchmark)
            for i, schema in enumerate(schemas):
                fill.episodes(schema, [_rows(schema, 100 + 10 * number + i, benchmark)])
        made = ChdbReader(str(path), max_sessions=3)
        yield made
        made.close()


@pytest.fixture
def facts(reader: ChdbReader) -> TupliDataset:
    return dataset("facts", storage=StorageOver(reader)).order_by("slot", "n_tuples")


def _fact(name: str) -> list[Any]:
    """The values of a fact over all rows; None where it is absent."""
    out: list[Any] = []
    for schema, rows in zip(SCHEMAS, ROWS, strict=True):
        paths = [leaf.path for leaf in schema.extra]
        column = rows.extra[paths.index(f".{name}")] if f".{name}" in paths else [None] * rows.n_steps
        out += [value.decode() if isinstance(value, bytes) else value for value in column]
    return out


def test_a_dataset_that_does_not_ask_for_facts_loads_over_all(facts: TupliDataset) -> None:
    table = facts.to_numpy()
    for word in ("observation", "action", "reward"):
        expected = np.concatenate([getattr(rows, word)[: rows.n_steps] for rows in ROWS])
        np.testing.assert_array_equal(table[word], expected)
    assert table["has_next"].all()
    following = np.concatenate([rows.observation[1:] for rows in ROWS])
    np.testing.assert_array_equal(table["next_observation"], following)
    assert len(facts.load().tuples) == sum(rows.n_steps for rows in ROWS)
    assert [len(episode) for episode in facts.iter_episodes()] == [rows.n_steps for rows in ROWS]


def test_facts_come_with_what_says_where_they_are(facts: TupliDataset) -> None:
    table = facts.to_numpy(["extra", "reward"])
    extra, has = table["extra"], table["has_extra"]
    assert list(extra) == list(has) == ["count", "logprob", "name", "value"]
    for name in extra:
        expected = _fact(name)
        np.testing.assert_array_equal(has[name], [value is not None for value in expected])
        for row, value in enumerate(expected):
            if value is not None:
                np.testing.assert_array_equal(extra[name][row], value)
    away = {name: extra[name][~has[name]] for name in extra}
    assert np.isnan(away["logprob"]).all()
    assert np.isnan(away["value"]).all()
    assert not away["count"].any()
    assert set(away["name"]) == {None}
    assert (extra["logprob"].dtype, extra["value"].shape[1:]) == (np.float32, (2,))


@pytest.mark.parametrize("size", [1, 4, 7, 1_000])
def test_batches_are_the_table_in_parts(facts: TupliDataset, size: int) -> None:
    whole = facts.to_numpy(["extra", "reward", "next_observation"])
    parts = list(facts.batches(size, columns=["extra", "reward", "next_observation"]))
    for word in ("extra", "has_extra"):
        for name, values in whole[word].items():
            np.testing.assert_array_equal(np.concatenate([part[word][name] for part in parts]), values)
    here = facts.with_tuple_filter(lambda item: item.reward > 0).to_numpy(["extra"])
    np.testing.assert_array_equal(here["extra"]["logprob"], whole["extra"]["logprob"][whole["reward"] > 0])
    assert set(here) == {"extra", "has_extra"}


def test_episodes_are_numbered_as_they_are_listed(facts: TupliDataset) -> None:
    for data in (facts, facts.order_by(), facts.order_by("-n_tuples").limit_episodes(4)):
        table = data.to_numpy(["reward", "episode"])
        counts = np.bincount(table["episode"]).tolist()
        assert counts == [header.n_tuples for header in data.preview()]


@pytest.mark.parametrize(
    ("chosen", "keep"),
    [
        (F("extra.logprob") > 0, lambda row: row["logprob"] is not None and row["logprob"] > 0),
        (~(F("extra.logprob") > 0), lambda row: not (row["logprob"] is not None and row["logprob"] > 0)),
        (F("extra.name") != "n1", lambda row: row["name"] != "n1"),
        (F("extra.name").isin(["n1", "n2"]), lambda row: row["name"] in {"n1", "n2"}),
        (F("extra.count").exists(), lambda row: row["count"] is not None),
        (
            F("extra.value[1]").between(-5, 5),
            lambda row: row["value"] is not None and -5 <= row["value"][1] <= 5,
        ),
    ],
)
@pytest.mark.parametrize("words", [("reward",), ("reward", "extra", "next_observation")])
def test_a_filter_on_a_fact_is_false_where_it_is_absent(
    facts: TupliDataset, chosen: Any, keep: Any, words: tuple[str, ...]
) -> None:
    rewards = np.concatenate([rows.reward for rows in ROWS])
    columns = {name: _fact(name) for name in ("logprob", "name", "count", "value")}
    kept = [keep({name: column[row] for name, column in columns.items()}) for row in range(len(rewards))]
    data = facts.with_tuple_filter(chosen)
    np.testing.assert_array_equal(data.to_numpy(words)["reward"], rewards[kept])
    assert data.preview().n_tuples == sum(kept)


def test_a_fact_that_nobody_has_is_an_error_that_lists_all(facts: TupliDataset) -> None:
    with pytest.raises(InvalidInput, match=r"extra\.logprob, extra\.name, extra\.value"):
        facts.with_tuple_filter(F("extra.nothing") > 0).to_numpy()
    with pytest.raises(InvalidInput, match="does not compare with the text"):
        facts.with_tuple_filter(F("extra.logprob") == "high").to_numpy()


def test_a_fact_of_two_types_is_refused_where_it_is_wanted(reader: ChdbReader) -> None:
    data = dataset("clashing", storage=StorageOver(reader))
    with pytest.raises(Conflict, match=r"extra\.logprob has two types, so leave out the column `extra` or"):
        data.to_numpy(["reward", "extra"])
    assert len(data.to_numpy()["reward"]) == 13 + 14 + 15
    kept = data.with_tuple_filter(F("extra.logprob") > 0).to_numpy(["reward"])["reward"]
    assert 0 < len(kept) < 27
    chosen = data.with_step_schema(DOUBLE.layout.text).to_numpy(["extra"])
    assert chosen["extra"]["logprob"].dtype == np.float64
    assert chosen["has_extra"]["logprob"].all()


@pytest.mark.parametrize("number", range(len(LEAFLESS_SCHEMAS)))
def test_an_empty_fact_is_there_where_it_was_recorded(reader: ChdbReader, number: int) -> None:
    schemas = LEAFLESS_SCHEMAS[number]
    data = dataset(f"leafless-{number}", storage=StorageOver(reader)).order_by("slot", "n_tuples")
    counts = [103 + 10 * number + i for i in range(len(schemas))]
    names = [_names_of(schema) for schema in schemas]
    table = data.to_numpy(["extra", "reward"])
    assert set(table["extra"]) == set(table["has_extra"]) == set().union(*names)
    empty: dict[str, Any] = {"b": (), "c": {}}
    for name, value in empty.items():
        if name in table["extra"]:
            assert table["extra"][name] == value
            having = np.repeat([name in own for own in names], counts)
            np.testing.assert_array_equal(table["has_extra"][name], having)
    for batch in data.batches(7, columns=["extra"]):
        assert set(batch["has_extra"]) == set(table["has_extra"])


def _names_of(schema: StepSchema) -> set[str]:
    return {name for name, _ in (schema.extra_structure or {"items": []})["items"]}


class Cut(InProcessQuery):
    """Answers that end behind `frames` frames, twice as late after every attempt."""

    def __init__(self, reader: ChdbReader) -> None:
        super().__init__(reader)
        self.frames = 1

    def post(self, path: str, body: bytes) -> tuple[dict[str, str], bytes]:
        headers, data = super().post(path, body)
        end = 0
        for _ in range(self.frames):
            end += HEADER.size + HEADER.unpack_from(data, end)[4] if end < len(data) else 0
        self.frames *= 2
        return headers, data[: end + 7]


@pytest.mark.parametrize("listed", [2, 8_192])
def test_a_cut_answer_goes_on_where_it_broke(
    facts: TupliDataset, reader: ChdbReader, monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    monkeypatch.setattr(planning, "LISTED_BRIEF", listed)
    for data in (facts, facts.order_by()):
        whole = list(DatasetStream(InProcessQuery(reader), _question(data)).blocks())
        cut = Cut(reader)
        broken = list(DatasetStream(cut, _question(data), sleep=lambda _: None).blocks())
        assert cut.frames > 4
        for word in ("episode", "step"):
            got, expected = (np.concatenate([getattr(b, word) for b in bs]) for bs in (broken, whole))
            np.testing.assert_array_equal(got, expected)


def _question(data: TupliDataset) -> dict[str, Any]:
    return data._query.request(("reward", "extra"))
