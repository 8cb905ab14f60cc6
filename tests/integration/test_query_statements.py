"""Statements through the real engine: visibility, statuses, order, paging, resuming, pinning."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from support.filter_oracle import Episode, Row
from support.filter_store import FilterStore, Recorded, fields_of
from tupli_query.core.context import Context, Selection
from tupli_query.core.statements import (
    PAGE_COLUMNS,
    count_episodes,
    episode_order,
    list_benchmarks,
    list_episodes,
    log_position,
    metadata_keys,
)
from tupli_query.core.step_statements import PageEpisode, StepsQuery, read_steps, step_columns
from tupli_query.core.visibility import LOCAL, Visibility
from tupli_schemas.filters import BaseFilter, F
from tupli_schemas.ids import LOCAL_SUBJECT, episode_id, id_text, make_id
from tupli_schemas.records import Position
from tupli_schemas.steps import Cell, Leaf, StepSchema

MINE = make_id(1_700_000_000_000, 3)
THEIRS = make_id(1_700_000_000_000, 4)
STREAM = make_id(1_700_000_000_000, 7)
ADA = make_id(1_600_000_000_000, 9)
EVE = make_id(1_600_000_000_000, 10)
SCHEMA = StepSchema(observation=(Leaf("", Cell("f4", (2,))),), action=(Leaf("", Cell("i8")),))


def recorded(ordinal: int, *, n: int = 4, final: bool = True, **members: Any) -> Recorded:
    """An episode whose observations count up."""
    episode = episode_id(STREAM, ordinal)
    benchmark = members.pop("benchmark", MINE)
    columns = members.pop("columns", {})
    keep = {name: members.pop(name) for name in ("owner", "publish_in") if name in members}
    metadata = members.pop("metadata", {})
    fields = {
        "started_at": ordinal, "ended_at": ordinal + 1, "n_tuples": n, "status": "terminated", "terminated": True,
        "truncated": False, "run": "r", "policy": None, "slot": 0, "seed": None, "return": float(ordinal),
    } | members  # fmt: skip
    facts = Episode(fields_of(episode, benchmark, **fields), metadata)

    def observation(step: int) -> dict[str, Any]:
        return {"": np.array([step, -step], np.float32)}

    rows = [
        Row(step, observation(step), {"": np.int64(step % 2)}, observation(step + 1), 1.0, terminated=step == n - 1,
            truncated=False, time=step, info={}, extra={}, episode=facts)
        for step in range(n)
    ]  # fmt: skip
    return Recorded(
        benchmark, episode, facts, rows, observation(n) if final else None, columns=columns, **keep
    )


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[FilterStore]:
    generation = abs(hash(request.node.nodeid)) % 1_000_000
    store = FilterStore(_engine(tmp_path_factory), generation)
    store.table(SCHEMA.layout)
    store.benchmarks([(MINE, LOCAL_SUBJECT, "mine", {"k": 1}), (THEIRS, ADA, "theirs", {"k": "x"})])
    yield store
    store.close()


def _engine(factory: pytest.TempPathFactory) -> Any:
    base = factory.getbasetemp() / "statements"
    base.mkdir(exist_ok=True)
    return base


def context(store: FilterStore, visibility: Visibility = LOCAL, now_ns: int = 0) -> Context:
    return Context(database=store.database, visibility=visibility, now_ns=now_ns)


def ordinals(store: FilterStore, selection: Selection | None = None, **members: Any) -> list[int]:
    """Which episodes a listing gives."""
    at = context(store, **{k: members.pop(k) for k in ("visibility", "now_ns") if k in members})
    query = list_episodes(at, selection or Selection(), limit=100, columns=PAGE_COLUMNS, **members)
    return [int.from_bytes(row["episode"][12:], "big") for row in store.run(query)]


def steps(store: FilterStore, items: list[Recorded], at: Context | None = None, **members: Any) -> list[Any]:
    """(ordinal, step, is_match) of the rows that are read."""
    page = [PageEpisode(i.benchmark, i.owner, i.episode, len(i.rows)) for i in items]
    values: dict[str, Any] = {"schema": SCHEMA, "page": page} | members
    query = StepsQuery(**values)
    rows = store.run(read_steps(at or context(store), query))
    return [(int.from_bytes(row["episode"][12:], "big"), row["step"], row["is_match"]) for row in rows]


class TestVisibility:
    def test_anothers_episode_is_seen_only_where_he_published_it(self, store: FilterStore) -> None:
        store.record(
            SCHEMA,
            [recorded(n, benchmark=THEIRS, owner=ADA, publish_in=scopes) for n, scopes in
             enumerate([(), ("lab",), ("global",), ("lab", "global")], 1)],
        )  # fmt: skip
        store.publish("episode", episode_id(STREAM, 1), "lab", EVE)
        store.publish("episode", episode_id(STREAM, 4), "global", ADA, published=False)

        assert ordinals(store) == [3]
        assert ordinals(store, visibility=Visibility(EVE, frozenset({"lab"}))) == [2, 3, 4]
        assert ordinals(store, visibility=Visibility(ADA)) == [1, 2, 3, 4]

    def test_scopes_that_the_caller_does_not_have_stay_hidden(self, store: FilterStore) -> None:
        store.record(SCHEMA, [recorded(1, owner=ADA, publish_in=("secret", "global"))])

        (row,) = store.run(list_episodes(context(store), Selection(), limit=9))
        assert row["scopes"] == [b"global"]
        assert ordinals(store, Selection(episode_filter=F("published_in") == "secret")) == []
        mine = Selection(episode_filter=F("published_in") == "secret")
        assert ordinals(store, mine, visibility=Visibility(ADA)) == [1]

    def test_steps_of_a_page_are_read_only_by_who_may_see_the_episode(self, store: FilterStore) -> None:
        item = recorded(1, owner=ADA)
        store.record(SCHEMA, [item])

        assert steps(store, [item]) == []
        assert steps(store, [item], next_observation=True, tuple_filter=F("step") == 1) == []
        assert len(steps(store, [item], context(store, Visibility(ADA)))) == 4

    def test_deletion_counts_only_of_the_owner(self, store: FilterStore) -> None:
        store.record(SCHEMA, [recorded(1), recorded(2)])
        store.delete("episode", episode_id(STREAM, 1), EVE)
        assert ordinals(store) == [1, 2]

        store.delete("episode", episode_id(STREAM, 1), LOCAL_SUBJECT)
        assert ordinals(store) == [2]

        store.delete("benchmark", MINE, EVE)
        assert ordinals(store) == [2]
        store.delete("benchmark", MINE, LOCAL_SUBJECT)
        assert ordinals(store) == []
        assert steps(store, [recorded(2)]) == []

    def test_benchmarks(self, store: FilterStore) -> None:
        def names(who: Visibility, chosen: BaseFilter | None = None) -> list[bytes]:
            return [row["name"] for row in store.run(list_benchmarks(context(store, who), chosen, limit=9))]

        assert names(LOCAL) == [b"mine"]
        assert names(Visibility(EVE)) == []
        store.publish("benchmark", THEIRS, "global", EVE)
        assert names(LOCAL) == [b"mine"]
        store.publish("benchmark", THEIRS, "global", ADA)
        assert names(LOCAL) == [b"mine", b"theirs"]
        assert names(LOCAL, F("owner") == "me") == [b"mine"]
        assert names(LOCAL, F("extra.k") == 1) == [b"mine"]
        assert names(LOCAL, F("metadata.extra.k") == "x") == [b"theirs"]
        assert names(LOCAL, F("id") == id_text(THEIRS)) == [b"theirs"]
        assert names(LOCAL, F("created_at") == "1970-01-01T00:00:00.001+00:00") == [b"mine", b"theirs"]
        assert names(LOCAL, F("created_at") < "1970-01-01T00:00:00.001+00:00") == []
        assert names(LOCAL, F("name").isin(["mine"])) == [b"mine"]
        store.delete("benchmark", THEIRS, ADA)
        assert names(Visibility(ADA)) == []


class TestEpisodes:
    def test_statuses_are_chosen_and_discarded_ones_hidden(self, store: FilterStore) -> None:
        kinds = ["terminated", "truncated", "aborted", "open", "incomplete", "conflict"]
        items = [recorded(n, status=kind) for n, kind in enumerate(kinds, 1)]
        items.append(recorded(7, columns={"discarded": 1}))
        for item in items:
            item.columns = {"discarded": 0, "received_at": 10**9} | item.columns
        store.record(SCHEMA, items)

        assert ordinals(store) == [1, 2, 3]
        assert ordinals(store, Selection(include=("open",))) == [1, 2, 3, 4]
        later = {"now_ns": 10_000 * 10**9}
        assert ordinals(store, Selection(include=("open",)), **later) == [1, 2, 3, 4]
        assert ordinals(store, Selection(include=("abandoned",))) == [1, 2, 3]
        assert ordinals(store, Selection(include=("abandoned",)), **later) == [1, 2, 3, 4]
        chosen = Selection(include=("open", "conflict"), episode_filter=F("status") == "abandoned")
        assert ordinals(store, chosen, **later) == [4]

    @pytest.mark.parametrize("inclusive", [False, True])
    @pytest.mark.parametrize(
        "order_by",
        [(), ("-return",), ("return",), ("policy", "-return"), ("-metadata.m",), ("metadata.m",), ("seed", "-id"),
         ("-started_at",), ("-policy", "slot", "run")],
    )  # fmt: skip
    def test_pages_hold_every_episode_once_in_order(
        self, store: FilterStore, order_by: tuple[str, ...], *, inclusive: bool
    ) -> None:
        rng = random.Random(3)
        values: list[Any] = [None, 0.0, -0.0, 1.5, float("nan"), float("inf"), -1.0]
        mixed: list[Any] = [*values, "a", "b", 2**60, True, [1]]
        items = [
            recorded(n, seed=rng.choice((None, 5, 10**30)), policy=rng.choice((None, "a", "b")), slot=n % 2,
                     metadata={"m": rng.choice(mixed)} if n % 4 else {}, **{"return": rng.choice(values)})
            for n in range(1, 24)
        ]  # fmt: skip
        store.record(SCHEMA, items)
        at = context(store)
        order = episode_order(order_by, at)
        whole = store.run(list_episodes(at, Selection(), order=order, limit=100, columns=PAGE_COLUMNS))
        cursor: str | None = None
        paged: list[Any] = []
        while True:
            after = order.read_cursor(cursor) if cursor else None
            query = list_episodes(
                at, Selection(), order=order, after=after, inclusive=inclusive, limit=5, columns=PAGE_COLUMNS
            )
            rows = store.run(query)
            new = rows[1:] if inclusive and after else rows
            if not new:
                break
            paged += new
            cursor = order.cursor_of(rows[-1])

        assert [row["episode"] for row in paged] == [row["episode"] for row in whole]
        assert len(whole) == 23

    def test_order_puts_what_is_missing_last_in_either_direction(self, store: FilterStore) -> None:
        returns: dict[int, Any] = {1: None, 2: 3.0, 3: float("nan"), 4: 5.0}
        store.record(SCHEMA, [recorded(n, **{"return": value}) for n, value in returns.items()])

        assert ordinals(store, order=episode_order(["return"], context(store))) == [2, 4, 3, 1]
        assert ordinals(store, order=episode_order(["-return"], context(store))) == [4, 2, 3, 1]

    def test_counts_by_schema(self, store: FilterStore) -> None:
        other = StepSchema(observation=(Leaf("", Cell("f8")),), action=())
        store.record(SCHEMA, [recorded(1, n=3), recorded(2, n=4)])
        store.table(other.layout)
        lone = recorded(3, n=2)
        for row in lone.rows:
            row.observation = {"": np.float64(1)}
        lone.final = None
        store.record(other, [lone])

        rows = store.run(count_episodes(context(store), Selection()))

        assert sorted((row["layout"], row["episodes"], row["tuples"]) for row in rows) == sorted(
            [(SCHEMA.layout.text.encode(), 2, 7), (other.layout.text.encode(), 1, 2)]
        )

    def test_metadata_keys_are_those_that_can_be_seen(self, store: FilterStore) -> None:
        secret = recorded(2, owner=EVE, metadata={"secret": 1})
        store.record(SCHEMA, [recorded(1, metadata={"a": 1, "b": {"c": "x"}, "d": None}), secret])

        rows = store.run(
            metadata_keys(context(store), Selection(benchmark_filter=F("name") == "mine"), {"d"})
        )

        assert [row["path"] for row in rows] == [b"d", b"a", b"b", b"b.c"]

    def test_a_pin_keeps_what_ended_later_out(self, store: FilterStore) -> None:
        store.record(SCHEMA, [recorded(1)], offset=10)
        store.record(SCHEMA, [recorded(2)], offset=20)
        assert store.run(log_position(context(store))) == [
            {"log_generation": 1, "partition": 0, "offset": 20}
        ]

        assert ordinals(store, Selection(pin=(Position(1, 0, 15),))) == [1]
        assert ordinals(store, Selection(pin=(Position(1, 0, 20),))) == [1, 2]
        assert ordinals(store, Selection(pin=(Position(2, 0, 20), Position(1, 1, 20)))) == []
        assert ordinals(store, Selection(pin=())) == []


class TestSteps:
    def test_everything_with_next_observations_is_all_rows_and_the_final_ones(
        self, store: FilterStore
    ) -> None:
        items = [recorded(1, n=2), recorded(2, n=2, final=False)]
        store.record(SCHEMA, items)

        assert steps(store, items) == [(1, 0, 1), (1, 1, 1), (2, 0, 1), (2, 1, 1)]
        assert steps(store, items, next_observation=True) == [
            (1, 0, 1),
            (1, 1, 1),
            (1, 2, 0),
            (2, 0, 1),
            (2, 1, 1),
        ]

    @pytest.mark.parametrize("in_page_order", [False, True])
    def test_a_stream_that_broke_off_anywhere_goes_on(
        self, store: FilterStore, *, in_page_order: bool
    ) -> None:
        items = [recorded(n, n=5) for n in (2, 1, 3)]
        store.record(SCHEMA, items)
        members: dict[str, Any] = {
            "tuple_filter": (F("step") == 1) | (F("step") == 2) | (F("next_observation[0]") == 5),
            "next_observation": True, "in_page_order": in_page_order,
        }  # fmt: skip
        if not in_page_order:
            items.sort(key=lambda item: item.episode)
        whole = steps(store, items, **members)
        assert [row[0] for row in whole[::5]] == [2, 1, 3] if in_page_order else [1, 2, 3]
        assert [row[1:] for row in whole[:5]] == [(1, 1), (2, 1), (3, 0), (4, 1), (5, 0)]

        for cut, (ordinal, step, _) in enumerate(whole, 1):
            first = next(i for i, item in enumerate(items) if item.episode == episode_id(STREAM, ordinal))
            assert steps(store, items[first:], after_step=step, **members) == whole[cut:]

    def test_an_open_episode_shows_its_prefix_only(self, store: FilterStore) -> None:
        item = recorded(1, n=5, status="open", ended_at=None, columns={"prefix": 3})
        twin = recorded(1, n=5, owner=ADA, publish_in=("global",))
        item.columns["ended"] = 0
        store.record(SCHEMA, [replace(item)])
        store.record(SCHEMA, [twin], offset=11)
        selection = Selection(include=("open",))
        rows = store.run(list_episodes(context(store), selection, limit=9, columns=PAGE_COLUMNS))
        page = [PageEpisode.of_row(row) for row in rows]

        found = steps(store, [], page=page, next_observation=True)

        assert sorted((one.owner, one.n_tuples) for one in page) == sorted([(LOCAL_SUBJECT, 3), (ADA, 5)])
        assert len(found) == 3 + 6

    def test_limit_and_columns(self, store: FilterStore) -> None:
        item = recorded(1, n=5)
        store.record(SCHEMA, [item])
        page = [PageEpisode(MINE, LOCAL_SUBJECT, item.episode, 5)]
        columns = step_columns(["observation", "reward", "next_observation"], SCHEMA)
        query = StepsQuery(schema=SCHEMA, page=page, columns=columns, limit=2, tuple_filter=F("action") == 1)

        rows = store.run(read_steps(context(store), query))

        assert [row["step"] for row in rows] == [1, 3]
        assert rows[0] == {
            "episode": item.episode, "step": 1, "is_final": 0, "o0": [1.0, -1.0], "reward": 1.0, "is_match": 1
        }  # fmt: skip

    @pytest.mark.parametrize("sizes", [(4,), (4, 2, 3)])
    @pytest.mark.parametrize("pin", [None, (Position(1, 0, 10),)])
    @pytest.mark.parametrize("chosen", [None, F("reward") > 0])
    def test_rows_beyond_the_listed_end_are_not_read(
        self, store: FilterStore, sizes: tuple[int, ...], pin: Any, chosen: BaseFilter | None
    ) -> None:
        items = [recorded(i + 1, n=n, final=n != 3) for i, n in enumerate(sizes)]
        more = [recorded(i + 1, n=n + 3, final=False) for i, n in enumerate(sizes)]
        store.record(SCHEMA, items, offset=10)
        found = steps(store, items, pin=pin, tuple_filter=chosen)
        pairs = steps(store, items, pin=pin, tuple_filter=chosen, next_observation=True)
        store.record(SCHEMA, more, offset=11)

        assert len(found) == sum(sizes)
        assert steps(store, items, pin=pin, tuple_filter=chosen) == found
        assert steps(store, items, pin=pin, tuple_filter=chosen, next_observation=True) == pairs
        assert len(pairs) == sum(n + (n != 3) for n in sizes)

    @pytest.mark.parametrize("owners", [(LOCAL_SUBJECT,), (LOCAL_SUBJECT, ADA)])
    def test_every_id_has_its_own_end(self, store: FilterStore, owners: tuple[bytes, ...]) -> None:
        items = [
            recorded(ordinal, n=2 + i + j, owner=owner, publish_in=("global",))
            for i, ordinal in enumerate((1, 256, 2**24))  # ids may end with zeros
            for j, owner in enumerate(owners)
        ]
        store.record(SCHEMA, items)
        page = [PageEpisode(i.benchmark, i.owner or LOCAL_SUBJECT, i.episode, len(i.rows)) for i in items]
        assert len(steps(store, [], page=page)) == sum(len(item.rows) for item in items)
        fewer = [replace(one, n_tuples=one.n_tuples - 1) for one in page]
        assert len(steps(store, [], page=fewer)) == sum(len(item.rows) - 1 for item in items)

    def test_pinned_steps_of_an_open_episode(self, store: FilterStore) -> None:
        item = recorded(1, n=2, final=False)
        store.record(SCHEMA, [item], offset=10)
        assert steps(store, [item], pin=(Position(1, 0, 9),)) == []
        assert len(steps(store, [item], pin=(Position(1, 0, 10),))) == 2

    def test_empty_pages_and_filters_that_nothing_meets(self, store: FilterStore) -> None:
        store.record(SCHEMA, [recorded(1)])
        assert steps(store, [recorded(1)], tuple_filter=F("action") == 0.5) == []
        assert steps(store, []) == []
        assert steps(store, [], next_observation=True) == []
