"""Filters through the real engine: the same answers as plain Python, also with hostile rows beside them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from support.filter_oracle import COMPARE, Episode, Row, episode_matches, tuple_matches
from support.filter_store import FilterStore, Recorded, fields_of, step_columns_of
from tupli_query.core.columns import INT64, UINT64
from tupli_query.core.context import Context, Selection
from tupli_query.core.numbers import compare_float, compare_whole, float_in, whole_in
from tupli_query.core.sql import CompiledQuery, Params
from tupli_query.core.statements import PAGE_COLUMNS, list_episodes
from tupli_query.core.step_statements import PageEpisode, StepsQuery, count_steps, read_steps
from tupli_query.core.visibility import LOCAL
from tupli_schemas.filters import (
    BaseFilter,
    F,
    FilterAND,
    FilterBETWEEN,
    FilterEQ,
    FilterEXISTS,
    FilterGEQ,
    FilterGT,
    FilterIN,
    FilterLEQ,
    FilterLT,
    FilterNE,
    FilterNOT,
    FilterOR,
)
from tupli_schemas.ids import episode_id, id_text, make_id
from tupli_schemas.steps import Cell, Leaf, StepSchema

BENCHMARK = make_id(1_700_000_000_000, 3)
ELSEWHERE = make_id(1_700_000_000_000, 4)
STREAM = make_id(1_700_000_000_000, 7)
OTHER_OWNER = make_id(1_600_000_000_000, 9)

SCHEMA = StepSchema(
    observation=(
        Leaf(".position", Cell("f4", (3,))),
        Leaf(".velocity", Cell("f8")),
        Leaf(".image", Cell("u1", (2, 2))),
        Leaf(".name", Cell("text")),
        Leaf(".raw", Cell("raw")),
        Leaf(".flag", Cell("b1")),
        Leaf(".big", Cell("u8")),
    ),
    action=(Leaf("", Cell("i8")),),
    extra=(Leaf(".logprob", Cell("f4")),),
)

NUMBERS: list[Any] = [
    0, 1, -1, 2, 255, 256, True, False, 0.0, -0.0, 0.1, float(np.float32(0.1)), 0.5, 1.5, -1.5, 2.0, 1e308, 5e-324,
    2**53, 2**53 + 1, float(2**53), -(2**53) - 1, 2**63 - 1, -(2**63), 2**63, float(2**63), 2**64 - 1, -(2**64),
    10**30, -(10**308), 2**1023 + 1, float("nan"), float("inf"), float("-inf"),
]  # fmt: skip
TEXTS = [
    "",
    "a",
    "b",
    "a'b",
    "x\\y",
    "x\\ny",
    "n\nl",
    "t\tt",
    "nul\0",
    "é☃😀",
    "\ud800",
    "\\N",
    "NULL",
    "{p0:String}",
]
TEXTS += ["1", "nan", "true", "--", '"', ","]
TOO_LONG = "z" * 9_000
ODD: list[Any] = [TOO_LONG, None, [], [1], {}, {"k": 1}, (1,), b"a", np.arange(3), object]
NUMPY: list[Any] = [np.float32(0.1), np.int64(1), np.bool_(True), np.float64("nan"), np.uint64(2**64 - 1)]
INFO_KEYS = ("k", "l", "a.b", "%", "a%2Eb", "é")


@dataclass(repr=False)
class World:
    """Rows, in an engine and in Python."""

    store: FilterStore
    items: list[Recorded]

    @property
    def context(self) -> Context:
        """The context of every query."""
        return Context(database=self.store.database, visibility=LOCAL, now_ns=10**9)

    @property
    def page(self) -> list[PageEpisode]:
        """All episodes."""
        return [PageEpisode(i.benchmark, i.owner, i.episode, len(i.rows)) for i in self.items]


def _info(rng: random.Random) -> dict[str, Any]:
    def value() -> Any:
        return rng.choice(rng.choice((NUMBERS, NUMBERS, TEXTS, ODD, NUMPY)))

    info = {key: value() for key in INFO_KEYS if rng.random() < 0.7}
    if rng.random() < 0.5:
        info["d"] = {"e": value(), "f.g": value()}
    return info


def _observation(rng: random.Random) -> dict[str, Any]:
    with np.errstate(over="ignore"):
        floats = [
            np.float32(float(rng.choice(NUMBERS[:18])) if rng.random() < 0.8 else np.nan) for _ in range(3)
        ]
    return {
        ".position": np.array(floats, np.float32),
        ".velocity": np.float64(rng.choice((0.1, 0.5, -0.0, np.nan, np.inf, -np.inf, float(2**53), 1e308))),
        ".image": np.array([[rng.choice((0, 1, 2, 255)) for _ in range(2)] for _ in range(2)], np.uint8),
        ".name": rng.choice(TEXTS),
        ".raw": b"\0\xff",
        ".flag": np.bool_(rng.random() < 0.5),
        ".big": np.uint64(rng.choice((0, 1, 2**53 + 1, 2**63, 2**64 - 1))),
    }


def make_items(seed: int, *, benchmark: bytes = BENCHMARK, owner: bytes | None = None) -> list[Recorded]:
    """Some episodes of whatever values."""
    rng = random.Random(seed)
    items = []
    for ordinal in range(1, 8):
        n = rng.randint(1, 5)
        terminated = rng.random() < 0.5
        episode = episode_id(STREAM, ordinal)
        fields = fields_of(
            episode, benchmark, started_at=ordinal * 1_000, ended_at=ordinal * 10_000, n_tuples=n,
            status="terminated" if terminated else "aborted", terminated=terminated, truncated=rng.random() < 0.5,
            run=rng.choice(TEXTS[:10]), policy=rng.choice((None, "ppo", "")), slot=rng.randint(0, 3),
            seed=rng.choice((None, 0, 1, -1, 2**64, 10**30)),
            **{"return": rng.choice((None, 0.0, -0.0, 1.5, float("nan"), float("inf"), float(2**53)))},
        )  # fmt: skip
        facts = Episode(fields, _info(rng), rng.choice(((), ("lab",), ("global", "lab"))))
        observations = [_observation(rng) for _ in range(n + 1)]
        has_final = rng.random() < 0.6
        last = observations[n] if has_final else None
        rows = [
            Row(
                step, observations[step], {"": np.int64(rng.choice((0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63))))},
                observations[step + 1] if step + 1 < n else last, float(rng.choice((0.0, -0.0, 0.1, np.nan, np.inf))),
                terminated=rng.random() < 0.2, truncated=rng.random() < 0.2, time=step * 1_000, info=_info(rng),
                extra={".logprob": np.float32(rng.choice((0.1, -0.3, np.nan)))}, episode=facts,
            )
            for step in range(n)
        ]  # fmt: skip
        extra: dict[str, Any] = {} if owner is None else {"owner": owner}
        items.append(Recorded(benchmark, episode, facts, rows, last, publish_in=facts.published_in, **extra))
    return items


def _fill(store: FilterStore, items: list[Recorded]) -> World:
    store.table(SCHEMA.layout)
    store.benchmarks([(BENCHMARK, items[0].owner, "bench", {})])
    store.record(SCHEMA, items)
    return World(store, items)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chdb")


@pytest.fixture(scope="module", params=[1, 2])
def world(request: pytest.FixtureRequest, engine: Path) -> Iterator[World]:
    store = FilterStore(engine, generation=request.param)
    yield _fill(store, make_items(request.param))
    store.close()


@pytest.fixture(scope="module")
def besieged(engine: Path) -> Iterator[tuple[World, World]]:
    """The same rows alone, and with hostile ones beside them."""
    alone = _fill(FilterStore(engine, generation=11), make_items(1))
    store = FilterStore(engine, generation=12)
    store.table(SCHEMA.layout)
    hostile = make_items(21, owner=OTHER_OWNER), make_items(22, benchmark=ELSEWHERE, owner=OTHER_OWNER)
    for item in (*hostile[0], *hostile[1]):
        item.publish_in = ()
    store.record(SCHEMA, hostile[0], offset=1)
    store.record(SCHEMA, hostile[1], offset=2)
    beside = _fill(store, make_items(1))
    # Repetitions with other content that came later, never merged: the first one counts.
    others = [row for item in make_items(23) for row in item.rows]
    late = [
        replace(
            item,
            rows=[replace(row, step=step) for step, row in enumerate(others[: len(item.rows)])],
            final=None,
        )
        for item in beside.items
    ]
    store.insert(SCHEMA.layout.table, step_columns_of(SCHEMA, late, 99))
    for item in beside.items:
        store.delete("episode", item.episode, OTHER_OWNER)
        store.publish("episode", item.episode, "x", OTHER_OWNER)
    store.delete("benchmark", BENCHMARK, OTHER_OWNER)
    yield alone, beside
    alone.store.close()
    beside.store.close()


WHOLE_KEYS = [
    "action",
    "observation.big",
    "observation.flag",
    "observation.image[0,1]",
    "observation.image[1][1]",
]
NUMBER_KEYS = [
    *WHOLE_KEYS, "reward", "step", "time", "terminated", "truncated", "terminal", "timeout", "observation.velocity",
    "observation.position[0]", "state.position[2]", "next_observation.position[1]", "next_observation.velocity",
    "next_observation.flag", "extra.logprob", "episode.return", "episode.seed", "episode.n_tuples", "episode.slot",
]  # fmt: skip
TEXT_KEYS = ["observation.name", "next_observation.name", "episode.policy", "episode.run", "episode.status"]
DYNAMIC_KEYS = [
    *(F("info", key).key for key in INFO_KEYS), "info.d", "info.d.e", "info.d.f%2Eg", "info.absent",
    "episode.metadata.k", "episode.d.e",
]  # fmt: skip
EXIST_KEYS = [
    *NUMBER_KEYS,
    *TEXT_KEYS,
    *DYNAMIC_KEYS,
    "observation",
    "observation.raw",
    "next_observation.position",
]

numbers = st.sampled_from(NUMBERS) | st.floats(width=32) | st.integers(-3, 3)
texts = st.sampled_from(TEXTS)
anything = numbers | texts


def conditions(keys: list[str], operands: st.SearchStrategy[Any]) -> st.SearchStrategy[BaseFilter]:
    key = st.sampled_from(keys)
    compared = [
        st.builds(kind, key, operands)
        for kind in (FilterEQ, FilterNE, FilterGT, FilterGEQ, FilterLT, FilterLEQ)
    ]
    return st.one_of(*compared, st.builds(FilterIN, key, st.lists(operands, max_size=4)))


def trees(atoms: st.SearchStrategy[BaseFilter]) -> st.SearchStrategy[BaseFilter]:
    def grow(inner: st.SearchStrategy[BaseFilter]) -> st.SearchStrategy[BaseFilter]:
        members = st.lists(inner, min_size=1, max_size=3)
        return st.builds(FilterAND, members) | st.builds(FilterOR, members) | st.builds(FilterNOT, inner)

    return st.recursive(atoms, grow, max_leaves=5)


tuple_filters = trees(
    conditions(NUMBER_KEYS, numbers)
    | conditions(TEXT_KEYS, texts)
    | conditions(DYNAMIC_KEYS, anything)
    | st.builds(FilterBETWEEN, st.sampled_from(NUMBER_KEYS + DYNAMIC_KEYS), numbers, numbers)
    | st.builds(FilterBETWEEN, st.sampled_from(TEXT_KEYS + DYNAMIC_KEYS), texts, texts)
    | st.builds(FilterEXISTS, st.sampled_from(EXIST_KEYS))
)
ids = st.integers(1, 8).map(lambda n: id_text(episode_id(STREAM, n)))
times = st.sampled_from([0, 1_000, 3_000.5, 30_000, "1970-01-01T00:00:00.000003", "1970-01-01", float("nan")])
metadata_keys = [*(F("metadata", key).key for key in INFO_KEYS), "metadata.d.e", "k", "d", "d.e"]
episode_filters = trees(
    conditions(["return", "seed", "n_tuples", "slot", "terminated", "truncated", "timeout"], numbers)
    | conditions(["policy", "run", "status", "alignment"], texts)
    | conditions(["started_at", "ended_at", "created_at"], times)
    | conditions(["id", "stream", "benchmark_id"], ids)
    | conditions(metadata_keys, anything)
    | st.builds(FilterEQ, st.just("published_in"), st.sampled_from(["lab", "global", "x"]))
    | st.builds(
        FilterIN, st.just("published_in"), st.lists(st.sampled_from(["lab", "global", "x"]), max_size=2)
    )
    | st.builds(
        FilterEXISTS,
        st.sampled_from(["return", "policy", "seed", "published_in", "ended_at", *metadata_keys]),
    )
)
KNOWN_METADATA = frozenset({"k", "d", "d.e"})

bounded = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def tuples_of(world: World, tuple_filter: BaseFilter, **members: Any) -> list[dict[str, Any]]:
    query = StepsQuery(
        schema=SCHEMA, page=world.page, tuple_filter=tuple_filter, metadata_keys=KNOWN_METADATA, **members
    )
    return world.store.run(read_steps(world.context, query))


def expected_tuples(world: World, tuple_filter: BaseFilter) -> list[tuple[bytes, int]]:
    return [(i.episode, row.step) for i in world.items for row in i.rows if tuple_matches(tuple_filter, row)]


@bounded
@given(tuple_filter=tuple_filters)
@example(tuple_filter=FilterEXISTS("observation"))
@example(tuple_filter=FilterEXISTS("next_observation"))
def test_tuples_are_those_of_plain_python(world: World, tuple_filter: BaseFilter) -> None:
    rows = tuples_of(world, tuple_filter)

    assert [(row["episode"], row["step"]) for row in rows] == expected_tuples(world, tuple_filter)
    assert all(row["is_match"] and not row["is_final"] for row in rows)


@settings(bounded, max_examples=30)
@given(tuple_filter=tuple_filters)
def test_next_rows_come_along_and_counts_agree(world: World, tuple_filter: BaseFilter) -> None:
    rows = tuples_of(world, tuple_filter, next_observation=True)
    expected = expected_tuples(world, tuple_filter)

    matches = [(row["episode"], row["step"]) for row in rows if row["is_match"]]
    present = {(row["episode"], row["step"]) for row in rows}
    last = {i.episode: len(i.rows) if i.final is not None else len(i.rows) - 1 for i in world.items}
    successors = {(e, step + 1) for e, step in expected if step + 1 <= last[e]}
    assert matches == expected
    assert present == set(expected) | successors
    query = StepsQuery(
        schema=SCHEMA, page=world.page, tuple_filter=tuple_filter, metadata_keys=KNOWN_METADATA
    )
    assert world.store.run(count_steps(world.context, query)) == [{"tuples": len(expected)}]


@bounded
@given(episode_filter=episode_filters)
def test_episodes_are_those_of_plain_python(world: World, episode_filter: BaseFilter) -> None:
    selection = Selection(episode_filter=episode_filter, metadata_keys=KNOWN_METADATA)

    rows = world.store.run(list_episodes(world.context, selection, limit=100, columns=PAGE_COLUMNS))

    kept = [item.episode for item in world.items if episode_matches(episode_filter, item.facts)]
    assert [row["episode"] for row in rows] == kept


@settings(bounded, max_examples=30)
@given(tuple_filter=tuple_filters, episode_filter=episode_filters)
def test_hostile_rows_beside_change_nothing(
    besieged: tuple[World, World], tuple_filter: BaseFilter, episode_filter: BaseFilter
) -> None:
    alone, beside = (_dataset(one, tuple_filter, episode_filter) for one in besieged)

    assert beside == alone


@pytest.mark.parametrize("operand", NUMBERS, ids=repr)
def test_numbers_compare_exactly_as_in_python(world: World, operand: Any) -> None:
    floats = [float(n) for n in NUMBERS if abs(n) < 10**300 or isinstance(n, float)]
    singles = [float(np.float32(value)) for value in floats if abs(value) < 1e38 or not np.isfinite(value)]
    wholes = [n for n in NUMBERS if type(n) is int and -(2**63) <= n < 2**63]
    unsigned = [0, 1, 2**53 + 1, 2**63, 2**64 - 1]
    params = Params()
    columns: dict[str, tuple[list[Any], str]] = {
        "f": (floats, "Float64"),
        "s": (singles, "Float32"),
        "i": (wholes, "Int64"),
        "u": (unsigned, "UInt64"),
    }
    bounds = {"i": INT64, "u": UINT64}
    shown: list[str] = []
    expected: list[list[int]] = []
    for name, (values, kind) in columns.items():
        cells = params.numbers(values, kind)
        for operator, compare in COMPARE.items():
            text = (
                compare_whole("x", operator, operand, bounds[name], params)
                if name in bounds
                else compare_float("x", operator, operand, params)
            )
            shown.append(f"arrayMap(x -> toUInt8({text}), {cells}) AS {name}_{operator}")
            expected.append([int(compare(value, operand)) for value in values])
        text = (
            whole_in("x", [operand], bounds[name], params)
            if name in bounds
            else float_in("x", [operand], params)
        )
        shown.append(f"arrayMap(x -> toUInt8({text}), {cells}) AS {name}_IN")
        expected.append([int(value == operand) for value in values])

    (row,) = world.store.run(
        CompiledQuery(LOCAL, f"SELECT {', '.join(shown)} SETTINGS max_threads = 1", params.values)
    )

    assert list(row.values()) == expected


def _dataset(
    world: World, tuple_filter: BaseFilter, episode_filter: BaseFilter
) -> list[tuple[bytes, bytes, int, int]]:
    selection = Selection(
        benchmark_filter=F("name") == "bench", episode_filter=episode_filter, metadata_keys=KNOWN_METADATA
    )
    listed = world.store.run(list_episodes(world.context, selection, limit=100, columns=PAGE_COLUMNS))
    query = StepsQuery(
        schema=SCHEMA, page=[PageEpisode.of_row(row) for row in listed], tuple_filter=tuple_filter,
        next_observation=True, columns=("o1", "reward"), metadata_keys=KNOWN_METADATA,
    )  # fmt: skip
    rows = world.store.run(read_steps(world.context, query))
    return [(row["episode"], repr(row["o1"]).encode(), row["step"], row["is_match"]) for row in rows]
