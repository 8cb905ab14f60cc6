"""What holds of every statement as text."""

import re
from dataclasses import replace
from typing import Any

import pytest

from tupli_query.core.context import Context, Selection
from tupli_query.core.errors import BadCursor, BadOrder, BadSelection
from tupli_query.core.header_statements import HEADER_FACTS, HEADER_TEXTS, read_headers
from tupli_query.core.order import MAX_KEYS
from tupli_query.core.sql import MAX_SQL, CompiledQuery, Params
from tupli_query.core.statements import (
    benchmark_order,
    count_episodes,
    episode_order,
    list_benchmarks,
    list_dataset,
    list_episodes,
    metadata_keys,
)
from tupli_query.core.step_statements import PageEpisode, StepsQuery, count_steps, read_steps, step_columns
from tupli_query.core.visibility import LOCAL, Visibility
from tupli_schemas.errors import FilterError
from tupli_schemas.filters import F, FilterOR
from tupli_schemas.ids import LOCAL_SUBJECT, make_id
from tupli_schemas.index_row import MAX_STRING_BYTES
from tupli_schemas.keys import UnknownKey
from tupli_schemas.records import Position
from tupli_schemas.steps import Cell, Leaf, StepSchema
from tupli_schemas.tables import FINAL_SETTINGS

EVE = make_id(1, 2)
CONTEXT = Context(database="g", visibility=Visibility(EVE, frozenset({"lab"})), now_ns=0)
SCHEMA = StepSchema(
    observation=(Leaf(".a", Cell("f4")), Leaf(".b", Cell("f4"))), action=(Leaf("", Cell("i8")),)
)
PAGE = [PageEpisode(EVE, EVE, make_id(1, 3), 4)]
BOB = [PageEpisode(EVE, make_id(1, 4), make_id(1, 5), 4)]
PIN = (Position(1, 0, 7),)
SELECTION = Selection(benchmark_filter=F("name") == "x'; DROP", episode_filter=F("return") > 1)
NEXT = F("next_observation.a") > 0
KEPT = F("reward") > 0


def steps(**members: Any) -> StepsQuery:
    values: dict[str, Any] = {"schema": SCHEMA, "page": PAGE} | members
    return StepsQuery(**values)


STATEMENTS = [
    list_benchmarks(CONTEXT, F("name") == "x'; DROP", limit=3),
    list_episodes(CONTEXT, SELECTION, order=episode_order(["-return"], CONTEXT), limit=3),
    list_dataset(CONTEXT, replace(SELECTION, pin=PIN), order=episode_order((), CONTEXT), limit=3),
    count_episodes(CONTEXT, SELECTION),
    read_headers(CONTEXT, [PAGE[0].id, BOB[0].id]),
    metadata_keys(CONTEXT, SELECTION, ["x'; DROP"]),
    read_steps(CONTEXT, steps(tuple_filter=F("info.x'; DROP") == "x'; DROP")),
    read_steps(CONTEXT, steps(tuple_filter=NEXT, next_observation=True, in_page_order=True, after_step=3)),
    read_steps(CONTEXT, steps(next_observation=True, limit=3)),
    read_steps(CONTEXT, steps(page=PAGE + BOB, tuple_filter=F("episode.return") > 1, pin=PIN)),
    count_steps(CONTEXT, steps(tuple_filter=NEXT)),
]


@pytest.mark.parametrize("query", STATEMENTS)
def test_every_statement_reads_final_states_under_pinned_settings_for_one_subject(
    query: CompiledQuery,
) -> None:
    text, settings = query.text.rsplit("\nSETTINGS ", 1)
    for name, value in FINAL_SETTINGS.items():
        assert f"{name} = {value}" in settings
    assert "max_threads = 1" in settings
    assert "PREWHERE" not in text
    assert "DROP" not in text
    for table in re.findall(r"(?:FROM|JOIN) g\.\w+(?: AS \w+)? (\w+)", text):
        assert table == "FINAL"
    named = set(re.findall(r"\{(p\d+):", query.text))
    assert named == set(query.params)
    assert EVE.hex() in query.params.values()
    assert all(re.fullmatch(r"[0-9a-f,]*|-?[0-9.e+-]+|\[.*\]", value) for value in query.params.values())


def test_no_query_without_a_visibility() -> None:
    with pytest.raises(TypeError):
        CompiledQuery(text="SELECT 1")  # type: ignore[call-arg]  # that is what is tested
    with pytest.raises(TypeError, match="Visibility"):
        CompiledQuery(None, "SELECT 1")  # type: ignore[arg-type]  # that is what is tested
    assert "global" in LOCAL.scopes


def test_a_statement_beyond_the_engine_s_limit_is_refused() -> None:
    wide = FilterOR([F("info", f"k{i}").between(i, i + 1) for i in range(999)])
    with pytest.raises(FilterError, match="too large"):
        read_steps(CONTEXT, steps(tuple_filter=wide))
    assert MAX_SQL < 262_144


def test_steps_end_where_the_listing_says() -> None:
    other = replace(PAGE[0], episode=make_id(1, 9), n_tuples=5)
    twin = replace(PAGE[0], owner=make_id(1, 9), n_tuples=5)
    alike, numbers, texts = (
        read_steps(CONTEXT, steps(page=[*PAGE, *more])) for more in ([], [other], [twin])
    )
    assert "step < {" in alike.text
    assert "step < transform(reinterpretAsUInt64(substring(episode, 9))" in numbers.text
    assert "step < transform(concat(benchmark, owner, episode)" in texts.text
    assert all("is_final = 0" in one.text for one in (alike, numbers, texts))


def test_only_one_s_own_episodes_are_read_without_their_publications() -> None:
    assert "publications" not in read_steps(CONTEXT, steps()).text
    assert "publications" in read_steps(CONTEXT, steps(page=BOB)).text
    assert "publications" in read_steps(CONTEXT, steps(page=PAGE + BOB)).text
    assert "publications" in read_steps(CONTEXT, steps(tuple_filter=F("episode.published_in") == "lab")).text
    own = read_steps(CONTEXT, steps())
    assert f"owner = unhex({{{next(n for n, v in own.params.items() if v == EVE.hex())}:String}})" in own.text


@pytest.mark.parametrize(
    "members", [{}, {"tuple_filter": KEPT}, {"tuple_filter": NEXT}, {"next_observation": True}]
)
def test_no_row_is_read_that_came_behind_the_pin(members: dict[str, Any]) -> None:
    for query in (read_steps, count_steps):
        assert "`offset` <=" in query(CONTEXT, steps(page=PAGE + BOB, pin=PIN, **members)).text


@pytest.mark.parametrize(
    ("members", "sorts"),
    [
        ({"tuple_filter": KEPT}, True),
        ({}, False),
        ({"tuple_filter": KEPT, "limit": 3}, False),
        ({"tuple_filter": KEPT, "next_observation": True}, False),
        ({"tuple_filter": KEPT, "in_page_order": True}, False),
        ({"tuple_filter": NEXT}, False),
    ],
)
def test_only_what_a_filter_leaves_of_a_whole_page_is_sorted(members: dict[str, Any], sorts: bool) -> None:  # noqa: FBT001 -- a parameter
    assert ("max_bytes_to_sort" in read_steps(CONTEXT, steps(sorts=True, **members)).text) is sorts
    assert "max_bytes_to_sort" not in read_steps(CONTEXT, steps(**members)).text


def test_a_page_is_read_from_the_rows_of_a_listing() -> None:
    row = {"benchmark": EVE, "owner": EVE, "episode": EVE, "n_tuples": 4, "layout": b""}
    assert PageEpisode.of_row(row) == PageEpisode(EVE, EVE, EVE, 4)


def test_columns_by_the_words_of_the_interface() -> None:
    assert step_columns(["observation", "reward", "episode", "next_observation"], SCHEMA) == (
        "o0",
        "o1",
        "reward",
    )
    assert step_columns(None, SCHEMA) == (
        "o0",
        "o1",
        "a0",
        "reward",
        "terminated",
        "truncated",
        "time",
        "info",
    )
    with pytest.raises(BadSelection, match="known: observation") as caught:
        step_columns(["reward", "v"], SCHEMA)
    assert caught.value.place == "columns[1]"


def test_a_listing_of_headers_has_none_of_their_texts() -> None:
    query = list_dataset(CONTEXT, SELECTION, order=episode_order((), CONTEXT), limit=3, columns=HEADER_FACTS)
    shown = query.text.partition(")\nSELECT `")[2].partition("FROM (")[0]
    assert "`header_bytes`" in shown
    assert not [name for name in HEADER_TEXTS if f"`{name}`" in shown]


def test_statuses_are_checked() -> None:
    assert Selection(include=("open",)).statuses == (
        "terminated",
        "truncated",
        "aborted",
        "open",
        "abandoned",
    )
    with pytest.raises(BadSelection) as caught:
        Selection(include=("open", "x"))
    assert caught.value.place == "include[1]"


@pytest.mark.parametrize(
    ("order_by", "error", "place"),
    [
        (["nothing"], UnknownKey, "order_by[0]"),
        (["return", "-published_in"], BadOrder, "order_by[1]"),
        ([3], BadOrder, "order_by[0]"),
        (["-"], BadOrder, "order_by[0]"),
        (["return"] * 9, BadOrder, "order_by"),
    ],
)
def test_bad_orders_name_the_place(order_by: list[Any], error: type[Exception], place: str) -> None:
    with pytest.raises(error) as caught:
        episode_order(order_by, CONTEXT)
    assert getattr(caught.value, "place", None) == place


def test_cursors_come_back_and_belong_to_their_order() -> None:
    order = episode_order(["-return", "run"], CONTEXT)
    row = {"k0": 0, "k1": float("inf"), "k2": b"\xff", "k3": EVE, "k4": EVE, "k5": LOCAL_SUBJECT}
    text = order.cursor_of(row, taken=5)
    cursor = order.read_cursor(text)
    assert cursor.values == (0, float("inf"), b"\xff", EVE, EVE, LOCAL_SUBJECT)
    assert cursor.more == {"taken": 5}
    assert benchmark_order((), CONTEXT).terms[0].expression == "id"
    for wrong in (text[:-4], "", "AAAA", "é", text * 100, "bm90IGpzb24"):
        with pytest.raises(BadCursor):
            order.read_cursor(wrong)
    with pytest.raises(BadCursor, match="another order"):
        episode_order(["return", "run"], CONTEXT).read_cursor(text)


def test_the_longest_texts_that_are_indexed_fit_into_a_cursor() -> None:
    order = episode_order(["run"] * MAX_KEYS, CONTEXT)
    assert len(order.terms) > MAX_KEYS
    ids = {f"k{at}": EVE for at in range(MAX_KEYS, len(order.terms))}
    row = {f"k{at}": b"\xff" * MAX_STRING_BYTES for at in range(MAX_KEYS)} | ids
    text = order.cursor_of(row, taken=2**60)
    assert order.read_cursor(text).values[0] == b"\xff" * MAX_STRING_BYTES
    with pytest.raises(BadCursor, match="too long"):
        order.read_cursor(text * 2)


def test_the_same_value_has_one_parameter() -> None:
    params = Params()
    assert params.text("a") == params.text("a") != params.text("b")
    assert params.values == {"p0": "61", "p1": "62"}
