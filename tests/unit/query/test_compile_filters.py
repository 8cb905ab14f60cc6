"""Tables of (filter, SQL, parameters): what the compiler prints."""

from typing import Any

import pytest

from tupli_query.core.compile_benchmarks import compile_benchmark_filter
from tupli_query.core.compile_episodes import bare_metadata_keys, compile_episode_filter
from tupli_query.core.compile_tuples import compile_tuple_filter
from tupli_query.core.context import Context
from tupli_query.core.sql import Params
from tupli_query.core.visibility import LOCAL
from tupli_schemas.errors import FilterError
from tupli_schemas.filters import BaseFilter, F, FilterAND
from tupli_schemas.ids import LOCAL_SUBJECT, id_text
from tupli_schemas.keys import Level, UnknownKey
from tupli_schemas.steps import Cell, Leaf, StepSchema

CONTEXT = Context(database="g", visibility=LOCAL, now_ns=0)
SCHEMA = StepSchema(
    observation=(Leaf("", Cell("f4", (4,))),),
    action=(Leaf(".gear", Cell("i1")), Leaf(".word", Cell("text")), Leaf(".half", Cell("raw"), "<f2", (2,))),
    extra=(Leaf(".value", Cell("u8")), Leaf(".flag", Cell("b1"))),
)
NAN = float("nan")
K = "unhex({p0:String})"


def tuples(item: BaseFilter) -> tuple[str, tuple[str, ...], dict[str, str]]:
    params = Params()
    compiled = compile_tuple_filter(item, SCHEMA, CONTEXT, params)
    return compiled.condition, compiled.ahead, params.values


@pytest.mark.parametrize(
    ("item", "sql", "params"),
    [
        (F("reward") > 0.5, "reward > {p0:Float64}", {"p0": "0.5"}),
        (F("reward") == float("inf"), "reward = {p0:Float64}", {"p0": "inf"}),
        (F("reward") == NAN, "0", {}),
        (F("reward") != NAN, "1", {}),
        (F("reward") == 2**53 + 1, "0", {}),
        (F("reward") < 2**53 + 1, "reward <= {p0:Float64}", {"p0": "9007199254740992.0"}),
        (F("reward") >= 2**1024 - 1, "reward >= {p0:Float64}", {"p0": "inf"}),
        (F("reward") == -0.0, "reward = {p0:Float64}", {"p0": "0.0"}),
        (F("terminated").is_true(), "terminated = {p0:Int64}", {"p0": "1"}),
        (F("timeout") == 1.0, "truncated = {p0:Int64}", {"p0": "1"}),
        (F("step") > 2.5, "step > {p0:Int64}", {"p0": "2"}),
        (F("step") <= 2.5, "step <= {p0:Int64}", {"p0": "2"}),
        (F("step") == 2.5, "0", {}),
        (F("step") >= -1, "1", {}),
        (F("step") <= float("inf"), "1", {}),
        (F("extra.value") == 2**64 - 1, "x0 = {p0:UInt64}", {"p0": str(2**64 - 1)}),
        (F("extra.value") > 2**64, "0", {}),
        (F("extra.flag").is_true(), "x1 = {p0:Int64}", {"p0": "1"}),
        (F("action.gear") < 128, "1", {}),
        (F("action.word") == "a'b", "a1 = unhex({p0:String})", {"p0": "612762"}),
        (F("action.half").exists(), "1", {}),
        (F("observation").exists(), "1", {}),
        (F("observation[3]") < 0, "o0[4] < {p0:Float64}", {"p0": "0.0"}),
        (F("state[0]").isin([]), "0", {}),
        (F("reward").isin([0, 1, True, float("nan"), 2**53 + 1]),
         "(reward IN {p0:Array(Float64)} OR reward = {p1:Float64})", {"p0": "[1.0]", "p1": "0.0"}),
        (F("action.gear").isin([1, 1.0, 1.5, 300]), "a0 IN {p0:Array(Int64)}", {"p0": "[1]"}),
        (F("reward").between(0, 1), "(reward >= {p0:Float64} AND reward <= {p1:Float64})",
         {"p0": "0.0", "p1": "1.0"}),
        (F("info.k") == "x", f"(mapContains(info_str, {K}) AND info_str[{K}] = unhex({{p1:String}}))",
         {"p0": "6b", "p1": "78"}),
        (F("info.k") > 0.5,
         (f"((mapContains(info_num, {K}) AND info_num[{K}] > {{p1:Float64}}) OR "
         f"(mapContains(info_int, {K}) AND info_int[{K}] > {{p2:Int64}}))"),
         {"p0": "6b", "p1": "0.5", "p2": "0"}),
        (F("info.k").exists(),
         (f"(mapContains(info_num, {K}) OR mapContains(info_int, {K}) OR mapContains(info_str, {K}) "
         f"OR has(info_other, {K}))"), {"p0": "6b"}),
        (~(F("reward") > 0), "NOT (reward > {p0:Float64})", {"p0": "0.0"}),
        (F("reward") != 0, "NOT (reward = {p0:Float64})", {"p0": "0.0"}),
        ((F("reward") > 0) & (F("step") >= -1), "reward > {p0:Float64}", {"p0": "0.0"}),
        ((F("reward") > 0) | (F("step") >= -1), "1", {"p0": "0.0"}),
        (F("episode.n_tuples") > 5,
         ("((benchmark, owner, episode) IN (SELECT benchmark, owner, episode FROM visible "
         "WHERE n_tuples > {p0:Int64}))"), {"p0": "5"}),
    ],
)  # fmt: skip
def test_tuple_filters(item: BaseFilter, sql: str, params: dict[str, str]) -> None:
    assert tuples(item) == (sql, (), params)


def test_conditions_on_the_next_row_are_taken_from_it_and_negated_outside() -> None:
    item = (F("next_observation[0]") > 0) & (F("next_observation[1]") != 0) & (F("next_observation[0]") > 0)

    sql, ahead, _ = tuples(item)

    assert sql == "(n0 AND NOT (n1) AND n0)"
    assert ahead == ("o0[1] > {p0:Float64}", "o0[2] = {p0:Float64}")
    assert tuples(F("next_observation").exists())[:2] == ("n0", ("1",))


@pytest.mark.parametrize(
    ("item", "sql", "params"),
    [
        (F("return") >= 195, "(isNotNull(`return`) AND assumeNotNull(`return`) >= {p0:Float64})", {"p0": "195.0"}),
        (F("status") == "open", "state = unhex({p0:String})", {"p0": "6f70656e"}),
        (F("started_at") >= "1970-01-01T00:00:01Z", "(has_start = 1 AND started_at >= {p0:Int64})",
         {"p0": "1000000000"}),
        (F("id") == id_text(LOCAL_SUBJECT), "episode = unhex({p0:String})", {"p0": LOCAL_SUBJECT.hex()}),
        (F("id") == "no id", "0", {}),
        (F("created_by") == "me", "owner = unhex({p0:String})", {"p0": LOCAL_SUBJECT.hex()}),
        (F("published_in") == "lab", "has(scopes, unhex({p0:String}))", {"p0": "6c6162"}),
        (F("policy").exists(), "isNotNull(policy)", {}),
        (F("month") == "June",
         f"(mapContains(metadata_str, {K}) AND metadata_str[{K}] = unhex({{p1:String}}))",
         {"p0": "6d6f6e7468", "p1": "4a756e65"}),
    ],
)  # fmt: skip
def test_episode_filters(item: BaseFilter, sql: str, params: dict[str, str]) -> None:
    made = Params()
    text = compile_episode_filter(item, CONTEXT, made, metadata_keys={"month"})
    assert (text.removeprefix("(").removesuffix(")") if text == f"({sql})" else text, made.values) == (
        sql,
        params,
    )


def test_benchmark_filters() -> None:
    made = Params()
    item = (F("metadata.name") == "a") & (F("version") == "1") & (F("owner") == "local")
    assert compile_benchmark_filter(item, CONTEXT, made) == (
        "(name = unhex({p0:String}) AND benchmark_version = unhex({p1:String}) AND owner = unhex({p2:String}))"
    )


@pytest.mark.parametrize(
    ("item", "place", "words"),
    [
        (
            F("observation") > 0,
            "tuple_filter.filters[1].key",
            r"shape \[4\]; name an element, as in observation\[0\]",
        ),
        (F("observation[4]") > 0, "tuple_filter.filters[1].key", r"out of range.*shape \[4\]"),
        (F("next_observation[4]") > 0, "tuple_filter.filters[1].key", r"out of range"),
        (
            F("action.half") == 1,
            "tuple_filter.filters[1].key",
            r"float16\[2\].*exact bytes.*with_tuple_filter",
        ),
        (F("action.half").isin([1]), "tuple_filter.filters[1].key", "exact bytes"),
        (F("reward") > "1", "tuple_filter.filters[1].value", "reward is a number"),
        (F("reward").isin([1, "1"]), "tuple_filter.filters[1].value[1]", "reward is a number"),
        (F("action.word") > 1, "tuple_filter.filters[1].value", "action.word is text"),
        (F("action.gear").between("a", "b"), "tuple_filter.filters[1].value[0]", "is a number"),
        (F("time") > "yesterday", "tuple_filter.filters[1].value", "ISO 8601"),
        (F("nothing") > 1, "tuple_filter.filters[1].key", "known: observation"),
        (F("episode.nothing") > 1, "tuple_filter.filters[1].key", "known: id"),
        (F("episode.published_in") > "a", "tuple_filter.filters[1].value", "set of names"),
        (F("episode.id") > "a", "tuple_filter.filters[1].value", "is an id"),
    ],
)
def test_what_a_tuple_filter_cannot_mean_names_the_place(item: BaseFilter, place: str, words: str) -> None:
    with pytest.raises(FilterError, match=words) as caught:
        tuples(FilterAND([F("reward") > 0, item]))
    assert caught.value.place == place


def test_a_dict_as_a_whole_is_there_and_does_not_compare() -> None:
    made = Params()
    assert compile_tuple_filter(F("action").exists(), SCHEMA, CONTEXT, made).condition == "1"
    for item in (F("action") == 1, F("action").isin([1])):
        with pytest.raises(UnknownKey, match=r"known: action\."):
            compile_tuple_filter(item, SCHEMA, CONTEXT, made)


def test_bare_keys_of_episodes_need_the_metadata() -> None:
    item = (F("month") == "June") | ~(F("return") > 1)
    inner = FilterAND([F("episode.site") == "a", F("episode.metadata.x") == 1])
    found: Any = bare_metadata_keys((item, Level.EPISODE), (inner, Level.TUPLE), (None, Level.EPISODE))
    assert found == {"month", "site"}
    with pytest.raises(UnknownKey, match=r"known: id.*metadata of these episodes: site"):
        compile_episode_filter(item, CONTEXT, Params(), metadata_keys={"site"})


DOTTED = StepSchema(
    observation=(
        Leaf(".n%2Ex", Cell("f4", (2,))),
        Leaf(".t%2Ew", Cell("text")),
        Leaf(".h%2Ef", Cell("raw"), "<f2", (2,)),
    ),
    action=(Leaf("", Cell("i8")),),
)
ELSEWHERE = StepSchema(observation=(), action=(), extra=(Leaf(".log%2Eprob", Cell("f4")),))


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (
            F("observation", "n.x")[0] == "a",
            "observation.`n.x`[0] is a number and does not compare with the text 'a'",
        ),
        (F("next_observation.`n.x`")[0] == "a", "next_observation.`n.x`[0] is a number and does not compare"),
        (F("observation", "n.x")[0].isin([1, "a"]), "observation.`n.x`[0] is a number and does not compare"),
        (
            F("observation", "n.x") == 1,
            "observation.`n.x` is an array of shape [2]; name an element, as in observation.`n.x`[0]",
        ),
        (F("observation", "t.w") == 1, "observation.`t.w` is text and does not compare with 1"),
        (F("observation", "h.f") == 1, "observation.`h.f` is float16[2], a type"),
        (
            F("observation", "n.x")[5] == 1,
            "observation.`n.x`[5]: index 5 is out of range; observation.`n.x` has",
        ),
        (
            F("observation", "n.y") == 1,
            "'observation.`n.y`' is no key of the step schema; known: observation.`n.x`",
        ),
        (
            F("extra", "log.prob") == "a",
            "extra.`log.prob` is a number and does not compare with the text 'a'",
        ),
        (F("reward", "a.b") == 1, "reward is a single value; '.`a.b`' names nothing in it"),
    ],
)
def test_names_with_dots_are_told_in_backquotes(item: BaseFilter, told: str) -> None:
    with pytest.raises(FilterError) as caught:
        compile_tuple_filter(item, DOTTED, CONTEXT, Params(), others=[ELSEWHERE])
    assert told in str(caught.value)
    assert "%2E" not in str(caught.value)
