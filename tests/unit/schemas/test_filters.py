"""The filter tree, `F` and the JSON form."""

import copy
import datetime as dt
import math
import uuid
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tupli_schemas.errors import FilterError
from tupli_schemas.filters import (
    MAX_DEPTH,
    MAX_NODES,
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
    parse_filter,
)
from tupli_schemas.paths import KeyPath, quoted, quoted_key, read_quoted

A, B, C = FilterEQ("a", 1), FilterGT("b", 2), FilterNE("c", "x")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (F("return") >= 195, FilterGEQ("return", 195)),
        (F("x") == 1, FilterEQ("x", 1)),
        (F("x") != 1, FilterNE("x", 1)),
        (F("x") < 1, FilterLT("x", 1)),
        (F("x") <= 1, FilterLEQ("x", 1)),
        (F("x") > 1, FilterGT("x", 1)),
        (1 < F("x"), FilterGT("x", 1)),  # noqa: SIM300 -- that is what is tested
        (F("status").isin(["aborted"]), FilterIN("status", ("aborted",))),
        (F("x").isin(v for v in (1, 2)), FilterIN("x", (1, 2))),
        (F("x").between(0, 1), FilterBETWEEN("x", 0, 1)),
        (F("info.success").is_true(), FilterEQ("info.success", value=True)),
        (F("info.success").is_false(), FilterEQ("info.success", value=False)),
        (F("x").exists(), FilterEXISTS("x")),
        (F("info", "TimeLimit.truncated") == 1, FilterEQ("info.TimeLimit%2Etruncated", 1)),
        (F("info.`TimeLimit.truncated`") == 1, FilterEQ("info.TimeLimit%2Etruncated", 1)),
        (F("info", "`a.b`") == 1, FilterEQ(KeyPath("info.`a%2Eb`"), 1)),
        (F("observation.`n.x`")[0] == 1, FilterEQ("observation.n%2Ex[0]", 1)),
        (F("observation", "`n.x`")[0] == 1, FilterEQ(KeyPath("observation.`n%2Ex`[0]"), 1)),
        (F("observation")[2] > 0, FilterGT("observation[2]", 0)),
        (F("observation")[0, 1] > 0, FilterGT("observation[0,1]", 0)),
        (A & B & C, FilterAND([A, B, C])),
        (A & (B & C), FilterAND([A, B, C])),
        (A | B | C, FilterOR([A, B, C])),
        (A & B | C, FilterOR([FilterAND([A, B]), C])),
        (~A, FilterNOT(A)),
        (~~A, A),
        (A.apply_prefix("episode"), FilterEQ("episode.a", 1)),
        (~(A & B).apply_prefix("p"), FilterNOT(FilterAND([FilterEQ("p.a", 1), FilterGT("p.b", 2)]))),
    ],
)
def test_what_is_written_is_what_is_meant(written: BaseFilter, meant: BaseFilter) -> None:
    assert written == meant
    assert hash(written) == hash(meant)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("info.`TimeLimit.truncated`", "info.TimeLimit%2Etruncated"),
        ("observation.`n.x`[0]", "observation.n%2Ex[0]"),
        ("`odd.key`", "odd%2Ekey"),
        ("info.`100%`.`a.b`", "info.100%25.a%2Eb"),
        ("info.`a``.b`", "info.a`%2Eb"),
        ("info.```x```", "info.`x`"),
        ("info.a`b`c", "info.a`b`c"),
        ("info.a`.b`", "info.a`.b`"),
        ("info.`open", "info.`open"),
        ("info.TimeLimit%2Etruncated", "info.TimeLimit%2Etruncated"),
    ],
)
def test_every_filter_reads_a_key_as_f_does(written: str, path: str) -> None:
    key = F(written)
    assert key.key == path
    for item, meant in [
        (FilterEQ(written, 1), key == 1), (FilterNE(written, 1), key != 1), (FilterGT(written, 1), key > 1),
        (FilterGEQ(written, 1), key >= 1), (FilterLT(written, 1), key < 1), (FilterLEQ(written, 1), key <= 1),
        (FilterIN(written, [1]), key.isin([1])), (FilterBETWEEN(written, 0, 1), key.between(0, 1)),
        (FilterEXISTS(written), key.exists()),
    ]:  # fmt: skip
        assert item == meant
        assert item.to_json()["key"] == path
        assert type(item.to_json()["key"]) is str


@pytest.mark.parametrize("name", ["`a.b`", "a`b`c", "`", "``", "tick`.", "`a", "a.b", "100%", "%2E", "plain"])
def test_a_name_with_backquotes_survives_whatever_is_done_with_its_filter(name: str) -> None:
    item = F("info", name) == 1
    path = item.key
    assert replace(item, value=2).key == path
    assert FilterNE(item.key, 1).key == path
    assert copy.deepcopy(~item).filter.apply_prefix("episode").key == f"episode.{path}"  # type: ignore[attr-defined]  # a NOT
    assert parse_filter(orjson.loads(orjson.dumps(item.to_json()))) == item
    assert read_quoted(quoted(path)) == path
    assert read_quoted(f"info.{quoted_key(name)}") == path


def test_a_prefix_is_read_like_a_key() -> None:
    assert A.apply_prefix("info.`b.c`") == FilterEQ("info.b%2Ec.a", 1)


def test_a_backquote_in_json_is_a_letter() -> None:
    item = parse_filter({"type": "EXISTS", "key": "info.`a.b`"})
    assert item.to_json() == {"type": "EXISTS", "key": "info.`a.b`"}
    assert item != FilterEXISTS("info.`a.b`")


def test_apply_prefix_and_operators_leave_the_original_alone() -> None:
    group = A & B
    group.apply_prefix("p")
    assert group & C != group
    assert group == FilterAND([FilterEQ("a", 1), FilterGT("b", 2)])
    with pytest.raises(FrozenInstanceError):
        A.key = "z"  # type: ignore[misc]  # that is what is tested
    members: list[BaseFilter] = [A]
    made = FilterAND(members)
    members.append(B)
    assert made == FilterAND([A])


def test_from_list_takes_one_attribute_of_each_item() -> None:
    @dataclass
    class Header:
        id: str

    assert FilterOR.from_list([Header("1"), Header("2")], on_key="benchmark_id", from_key="id") == FilterOR(
        [FilterEQ("benchmark_id", "1"), FilterEQ("benchmark_id", "2")]
    )
    with pytest.raises(FilterError, match="no conditions"):
        FilterOR.from_list([], on_key="a", from_key="b")


@pytest.mark.parametrize(
    "python",
    [
        lambda: bool(F("x")),
        lambda: bool(A),
        lambda: A and B,  # type: ignore[redundant-expr, unreachable]  # that is what is tested
        lambda: not A,
        lambda: 0 < F("x") < 1,
        lambda: 1 in F("x"),
        lambda: 1 in A,
        lambda: list(F("x")),
        lambda: list(A),
        lambda: F("x") & A,
        lambda: A | F("x"),
        lambda: A & True,  # type: ignore[operator]  # that is what is tested
        lambda: ~F("x"),
    ],
)
def test_python_logic_is_refused_with_what_to_write_instead(python: Any) -> None:
    with pytest.raises(TypeError, match=r"& \| ~|is_true"):
        python()


@pytest.mark.parametrize(
    ("make", "place", "words"),
    [
        (lambda: F("x") == None, "value", r"exists\(\)"),  # noqa: E711 -- that is what is tested
        (lambda: F("x") > None, "value", r"exists\(\)"),
        (lambda: F("x") == F("y"), "value", "a key compares with a value"),
        (lambda: F("x") == [1], "value", "cannot be compared"),
        (lambda: F("x") == {"a": 1}, "value", "cannot be compared"),
        (lambda: F("x") == b"a", "value", "cannot be compared"),
        (lambda: F("x") == np.arange(3), "value", r"shape \[3\]"),
        (lambda: F("x") == 1j, "value", "complex"),
        (lambda: F("x") == 2**1025, "value", "bits"),
        (lambda: F("x") == "a" * 70_000, "value", "characters"),
        (lambda: F("x").isin("abc"), "value", "list"),
        (lambda: F("x").isin([1, None]), r"value[1]", "None"),
        (lambda: F("x").isin(range(10_001)), "value", "10000"),
        (lambda: F("x").between(None, 1), "value[0]", "None"),
        (lambda: F("x").between("a", 1), "value", "between text and a number"),
        (lambda: F("") == 1, "key", "a key is text"),
        (lambda: F(3) == 1, "key", "a key is text"),  # type: ignore[arg-type]  # that is what is tested
        (lambda: FilterEQ("a" * 2_000, 1), "key", "1024"),
        (lambda: FilterEQ(f"`{'.' * 1_000}`", 1), "key", "1024"),
        (lambda: FilterEQ("``", 1), "key", "a key is text"),
        (lambda: FilterAND([]), "filters", "no conditions"),
        (lambda: FilterOR([A, "b"]), "filters[1]", "no condition"),  # type: ignore[list-item]  # as above
    ],
)
def test_what_means_nothing_is_refused_with_its_place(make: Any, place: str, words: str) -> None:
    with pytest.raises(FilterError, match=words) as caught:
        make()
    assert caught.value.place == place


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array(2.5), 2.5),
        (np.str_("a"), "a"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00+00:00"),
        (dt.date(2026, 1, 2), "2026-01-02"),
    ],
)
def test_operands_become_plain_values(value: Any, plain: Any) -> None:
    condition = F("x") == value
    assert condition.value == plain
    assert type(condition.value) is type(plain)


def test_trees_cannot_grow_beyond_their_limits() -> None:
    deep: BaseFilter = A
    for _ in range(MAX_DEPTH // 2):
        deep = FilterNOT(FilterAND([deep])) if deep.depth + 2 <= MAX_DEPTH else FilterNOT(deep)
    with pytest.raises(FilterError, match="levels deep"):
        FilterNOT(FilterAND([deep]))
    with pytest.raises(FilterError, match="conditions"):
        FilterAND([A] * MAX_NODES)
    assert FilterAND([A] * (MAX_NODES - 1)).nodes == MAX_NODES


scalars = st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text(max_size=5) | st.just("\ud800")
leaves = st.builds(FilterEQ, st.just("a"), scalars) | st.builds(FilterIN, st.just("b"), st.lists(scalars))
trees = st.recursive(
    leaves
    | st.builds(FilterEXISTS, st.just("c"))
    | st.builds(FilterBETWEEN, st.just("d"), st.floats(), st.integers()),
    lambda inner: st.builds(FilterAND, st.lists(inner, min_size=1, max_size=3)) | st.builds(FilterNOT, inner),
    max_leaves=6,
)


@settings(max_examples=50)
@given(item=trees)
def test_json_brings_every_filter_back(item: BaseFilter) -> None:
    data = orjson.loads(orjson.dumps(item.to_json()))
    assert repr(parse_filter(data)) == repr(item)


def test_json_is_that_of_the_seed() -> None:
    data = {"type": "OR", "key": None, "filters": [{"type": "EQ", "key": "id", "value": "a", "filters": []}]}
    assert parse_filter(data) == FilterOR([FilterEQ("id", "a")])
    assert (A | B).to_json() == {
        "type": "OR",
        "filters": [{"type": "EQ", "key": "a", "value": 1}, {"type": "GT", "key": "b", "value": 2}],
    }
    assert math.isnan(parse_filter({"type": "EQ", "key": "a", "value": {"$number": "nan"}}).value)  # type: ignore[attr-defined]  # an EQ


EQ = {"type": "EQ", "key": "a", "value": 1}


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (None, "tuple_filter"),
        ([], "tuple_filter"),
        ({}, "tuple_filter.type"),
        ({"type": "XOR"}, "tuple_filter.type"),
        ({"type": ["EQ"]}, "tuple_filter.type"),
        ({"type": "AND", "filters": []}, "tuple_filter.filters"),
        ({"type": "OR"}, "tuple_filter.filters"),
        ({"type": "NOT", "filters": [EQ, EQ]}, "tuple_filter.filters"),
        ({"type": "AND", "filters": [EQ, {"type": "EQ", "value": 1}]}, "tuple_filter.filters[1].key"),
        ({"type": "AND", "filters": [EQ, {"type": "GT", "key": "a"}]}, "tuple_filter.filters[1].value"),
        ({"type": "EQ", "key": 3, "value": 1}, "tuple_filter.key"),
        ({"type": "EQ", "key": "", "value": 1}, "tuple_filter.key"),
        ({"type": "EQ", "key": "a", "value": [1]}, "tuple_filter.value"),
        ({"type": "EQ", "key": "a", "value": {"$number": "x"}}, "tuple_filter.value"),
        ({"type": "EQ", "key": "a", "value": {"$number": "9" * 2_000}}, "tuple_filter.value"),
        ({"type": "EQ", "key": "a", "value": 1, "filters": [EQ]}, "tuple_filter"),
        ({"type": "AND", "key": "a", "filters": [EQ]}, "tuple_filter"),
        ({"type": "IN", "key": "a", "value": "abc"}, "tuple_filter.value"),
        ({"type": "IN", "key": "a", "value": [1, None]}, "tuple_filter.value[1]"),
        ({"type": "IN", "key": "a", "value": [1] * 10_001}, "tuple_filter.value"),
        ({"type": "BETWEEN", "key": "a", "value": [1]}, "tuple_filter.value"),
        ({"type": "BETWEEN", "key": "a", "value": [1, None]}, "tuple_filter.value[1]"),
        ({"type": "EXISTS", "key": "a", "value": 1}, "tuple_filter"),
        ({"type": "AND", "filters": [EQ] * 1_000}, "tuple_filter.filters[999]"),
    ],
)
def test_bad_json_is_refused_with_its_place(data: Any, place: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(data, place="tuple_filter")
    assert caught.value.place == place


def test_json_that_is_too_deep_is_refused() -> None:
    data: Any = EQ
    for _ in range(500):
        data = {"type": "NOT", "filters": [data]}
    with pytest.raises(FilterError, match="levels deep"):
        parse_filter(data)


def test_keys_are_shown_as_they_are_written() -> None:
    key = F("info", "a.b")
    assert (repr(key), str(key.key)) == ("F('info.`a.b`')", "info.a%2Eb")
    assert repr(key > 1) == "FilterGT(key='info.`a.b`', value=1)"
    assert repr(F("observation", "n.x")[0, 1]) == "F('observation.`n.x`[0,1]')"
    with pytest.raises(FilterError, match=r"write F\('info\.`a\.b`'\)\.exists\(\)"):
        key == None  # noqa: B015, E711 -- what a user may try
