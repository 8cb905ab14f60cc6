"""Datasets end to end: the real engine, the service's application, the client's dataset, no network between."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from support.query_calls import InProcessQuery, StorageOver
from support.store_fill import Rows, StoreFill, array_schema, random_rows
from tupli.datasets.stream import DatasetStream
from tupli.datasets.tupli_dataset import TupliDataset
from tupli.errors import Conflict, IntegrityError, InvalidInput, TransportError
from tupli_query.adapters.chdb_reader import ChdbReader, ChdbSession, ChdbStream
from tupli_query.core import pages, sql
from tupli_query.core.reader import Statement
from tupli_schemas.filters import F
from tupli_schemas.framing import HEADER
from tupli_schemas.ids import make_id

SCHEMA = array_schema("f4[3]", "i8[]", extra="")
OTHER_BENCHMARK = make_id(1_700_000_000_000, 4)
COLUMNS = ("observation", "action", "reward", "terminated", "truncated")


def _episodes(count: int, **members: Any) -> list[Rows]:
    return [random_rows(SCHEMA, 5 + i, seed=i, ordinal=i + 1, **members) for i in range(count)]


EPISODES = _episodes(8)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ChdbReader, StoreFill]]:
    path = tmp_path_factory.mktemp("store")
    with StoreFill(path) as fill:
        fill.benchmark("bench")
        fill.episodes(SCHEMA, EPISODES[:5])
        fill.episodes(SCHEMA, EPISODES[5:])
        fill.benchmark("other", benchmark=OTHER_BENCHMARK)
        fill.episodes(SCHEMA, [_no_final()])
        fill.episodes(array_schema("f4[2]", "f4[1]"), [_other_layout()])
        reader = ChdbReader(str(path), max_sessions=3)
        yield reader, fill
        reader.close()


@pytest.fixture
def another(filled: tuple[ChdbReader, StoreFill]) -> Iterator[StoreFill]:
    """An empty generation that serves for one test: a process has one engine, and so one path."""
    with filled[1].generation() as fill:
        fill.benchmark("bench")
        yield fill
    filled[1].serve(1)


def _no_final() -> Rows:
    return random_rows(
        SCHEMA,
        4,
        seed=50,
        ordinal=50,
        benchmark=OTHER_BENCHMARK,
        has_final=False,
        terminated=False,
        truncated=True,
    )


def _other_layout() -> Rows:
    schema = array_schema("f4[2]", "f4[1]")
    return random_rows(schema, 3, seed=51, ordinal=51, benchmark=OTHER_BENCHMARK)


@pytest.fixture
def dataset(filled: tuple[ChdbReader, StoreFill]) -> TupliDataset:
    return TupliDataset(StorageOver(filled[0])).with_benchmark_filter(F("name") == "bench")


def _expected(episodes: list[Rows], name: str) -> np.ndarray[Any, Any]:
    return np.concatenate([getattr(rows, name)[: rows.n_steps] for rows in episodes])


def test_everything_comes_back_as_it_was_written(dataset: TupliDataset) -> None:
    table = dataset.to_numpy()
    for word, name in (("observation", "observation"), ("action", "action"), ("reward", "reward")):
        np.testing.assert_array_equal(table[word], _expected(EPISODES, name))
    following = np.concatenate([rows.observation[1:] for rows in EPISODES])
    np.testing.assert_array_equal(table["next_observation"], following)
    assert table["has_next"].all()
    assert table["terminated"].sum() == len(EPISODES)
    np.testing.assert_array_equal(table["step"], np.concatenate([np.arange(r.n_steps) for r in EPISODES]))
    np.testing.assert_array_equal(table["episode"], np.repeat(np.arange(8), [r.n_steps for r in EPISODES]))


def test_chosen_columns_alone_come(dataset: TupliDataset) -> None:
    table = dataset.to_numpy(["reward", "step"])
    assert set(table) == {"reward", "step"}
    np.testing.assert_array_equal(table["reward"], _expected(EPISODES, "reward"))


def test_a_tuple_filter_keeps_its_tuples_with_their_next_observations(dataset: TupliDataset) -> None:
    table = dataset.with_tuple_filter(F("reward") > 0).to_numpy()
    keep = _expected(EPISODES, "reward") > 0
    following = np.concatenate([rows.observation[1:] for rows in EPISODES])
    np.testing.assert_array_equal(table["observation"], _expected(EPISODES, "observation")[keep])
    np.testing.assert_array_equal(table["next_observation"], following[keep])
    assert table["has_next"].all()


def test_a_python_filter_keeps_the_same_tuples(dataset: TupliDataset) -> None:
    here = dataset.with_tuple_filter(lambda item: item.reward > 0).to_numpy()
    there = dataset.with_tuple_filter(F("reward") > 0).to_numpy()
    for word, values in there.items():
        np.testing.assert_array_equal(here[word], values)
    assert set(here) == set(there)


def test_without_a_final_row_the_last_tuple_has_no_next_observation(dataset: TupliDataset) -> None:
    only = (
        dataset.with_benchmark_filter(None)
        .with_episode_filter(F("n_tuples") == 4)
        .with_step_schema(SCHEMA.layout.text)
    )
    table = only.to_numpy()
    assert table["has_next"].tolist() == [True, True, True, False]
    assert np.isnan(table["next_observation"][-1]).all()
    (episode,) = only.iter_episodes()
    assert len(episode.observations) == len(episode) == 4


def test_several_step_schemas_are_refused_with_their_list(dataset: TupliDataset) -> None:
    mixed = dataset.with_benchmark_filter(F("name") == "other")
    with pytest.raises(Conflict, match="2 step schemas") as caught:
        mixed.to_numpy()
    assert caught.value.problem is not None
    listed = caught.value.problem.members["schemas"]
    assert {item["layout"]: item["tuples"] for item in listed} == {
        SCHEMA.layout.text: 4,
        array_schema("f4[2]", "f4[1]").layout.text: 3,
    }
    for item in listed:
        assert len(mixed.with_step_schema(item["id"]).to_numpy(["reward"])["reward"]) == item["tuples"]


def test_order_and_limit_choose_episodes(dataset: TupliDataset) -> None:
    table = dataset.order_by("-n_tuples").limit_episodes(3).to_numpy()
    best = [EPISODES[7], EPISODES[6], EPISODES[5]]
    np.testing.assert_array_equal(table["observation"], _expected(best, "observation"))
    assert [h.n_tuples for h in dataset.order_by("-n_tuples").limit_episodes(3).preview()] == [12, 11, 10]


@pytest.mark.parametrize("limit", [0, 1, 5, 100])
def test_a_limit_cuts_behind_its_last_tuple(dataset: TupliDataset, limit: int) -> None:
    table = dataset.limit(limit).to_numpy()
    everything = dataset.to_numpy()
    for word, values in everything.items():
        np.testing.assert_array_equal(table[word], values[:limit])
    kept = dataset.with_tuple_filter(F("reward") > 0)
    np.testing.assert_array_equal(kept.limit(limit).to_numpy()["reward"], kept.to_numpy()["reward"][:limit])


def test_pages_do_not_show(dataset: TupliDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dataset.to_numpy()
    filtered = dataset.with_tuple_filter(F("reward") > 0).to_numpy()
    monkeypatch.setattr(pages, "MAX_PAGE_EPISODES", 2)
    monkeypatch.setattr("tupli_query.core.planning.LISTED_BRIEF", 3)
    for one, other in ((whole, dataset), (filtered, dataset.with_tuple_filter(F("reward") > 0))):
        for word, values in other.to_numpy().items():
            np.testing.assert_array_equal(one[word], values)


def test_a_filter_that_leaves_much_is_read_in_order(
    dataset: TupliDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine gives up sorting before the first row; after that no page of the answer is sorted."""
    opened: list[str] = []
    was = ChdbSession.open

    def noting(session: ChdbSession, statement: Statement, *, max_block_rows: int) -> ChdbStream:
        opened.append("sorted" if "max_bytes_to_sort" in statement.text else "in order")
        return was(session, statement, max_block_rows=max_block_rows)

    monkeypatch.setattr(ChdbSession, "open", noting)
    monkeypatch.setattr(pages, "MAX_PAGE_EPISODES", 3)
    kept = dataset.with_tuple_filter(F("reward") > -100)
    whole = kept.to_numpy(["reward", "observation"])
    assert opened == ["sorted"] * 3
    monkeypatch.setitem(sql.SORTED_SETTINGS, "max_bytes_to_sort", 100)
    again = kept.to_numpy(["reward", "observation"])
    assert opened[3:] == ["sorted", "in order", "in order", "in order"]
    for word, values in whole.items():
        np.testing.assert_array_equal(again[word], values)
    np.testing.assert_array_equal(whole["reward"], _expected(EPISODES, "reward"))


def test_an_empty_dataset_has_no_rows(dataset: TupliDataset) -> None:
    table = dataset.with_episode_filter(F("policy") == "nobody").to_numpy()
    assert {len(values) for values in table.values()} == {0}
    nothing = dataset.with_tuple_filter(F("reward") > 1e9).to_numpy()
    assert nothing["observation"].shape == (0, 3)


def test_unmerged_repetitions_that_differ_in_every_column_change_nothing(
    filled: tuple[ChdbReader, StoreFill], another: StoreFill
) -> None:
    """First wins: whatever a later record says of the same steps, readers see what came first."""
    first = random_rows(SCHEMA, 20, seed=1)
    later = random_rows(SCHEMA, 20, seed=2, terminated=False, truncated=True)
    later.infos = [b'{"later":1}'] * 20
    another.episodes(SCHEMA, [first])
    another.steps(SCHEMA, [later], offset=1_000)
    another.steps(SCHEMA, [later], offset=1_001)
    data = TupliDataset(StorageOver(filled[0]))
    table = data.to_numpy([*COLUMNS, "next_observation", "info"])
    np.testing.assert_array_equal(table["observation"], first.observation[:20])
    np.testing.assert_array_equal(table["next_observation"], first.observation[1:])
    np.testing.assert_array_equal(table["reward"], first.reward)
    assert table["terminated"][-1]
    assert not table["truncated"].any()
    assert list(table["info"]) == [{}] * 20
    threshold = float(np.median(np.concatenate([first.reward, later.reward])))
    for words in (None, ["observation"]):  # read in order, and sorted
        kept = data.with_tuple_filter(F("reward") > threshold).to_numpy(words)
        np.testing.assert_array_equal(kept["observation"], first.observation[:20][first.reward > threshold])


class Broken(InProcessQuery):
    """Cuts the answer behind a number of bytes, as often as told."""

    def __init__(self, reader: ChdbReader, cuts: list[int]) -> None:
        super().__init__(reader)
        self.cuts = cuts

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
        with super().stream(path, body) as chunks:
            yield self._cut(chunks, self.cuts.pop(0)) if self.cuts else chunks

    def _cut(self, chunks: Iterator[bytes], left: int) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                raise TransportError("the connection is gone")


def _frames_of(reader: ChdbReader, request: dict[str, Any]) -> list[int]:
    """Where frames begin in the answer."""
    with InProcessQuery(reader).stream("/query/v1/datasets/query", request) as chunks:
        body = b"".join(chunks)
    starts, at = [], 0
    while at < len(body):
        starts.append(at)
        at += HEADER.size + HEADER.unpack_from(body, at)[4]
    return [*starts, len(body)]


@pytest.mark.parametrize("how", ["next", "filtered", "ordered", "limited"])
def test_a_stream_that_is_cut_anywhere_goes_on_where_it_was(
    filled: tuple[ChdbReader, StoreFill], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_EPISODES", 2)
    reader = filled[0]
    dataset = TupliDataset(StorageOver(reader)).with_benchmark_filter(F("name") == "bench")
    dataset = dataset.with_episode_filter(F("n_tuples") < 8)
    made = {
        "next": dataset,
        "filtered": dataset.with_tuple_filter(F("reward") > 0),
        "ordered": dataset.order_by("-return"),
        "limited": dataset.limit(13),
    }[how]
    words = (*COLUMNS, "next_observation")
    whole = made.to_numpy(words)
    starts = _frames_of(reader, made._query.request(words))
    assert len(starts) > 5
    for cut in (*starts, starts[2] + 25, starts[4] + 5):
        broken = Broken(reader, [cut])
        again = TupliDataset(StorageOver(reader, broken))
        again._query = made._query
        for word, values in again.to_numpy(words).items():
            np.testing.assert_array_equal(whole[word], values, err_msg=f"cut at {cut}")


def test_a_stream_that_breaks_off_without_end_raises(filled: tuple[ChdbReader, StoreFill]) -> None:
    request = TupliDataset(None).with_benchmark_filter(F("name") == "bench")._query.request(COLUMNS)
    stream = DatasetStream(Broken(filled[0], [30] * 50), request, sleep=lambda _: None)
    with pytest.raises(TransportError, match="gone"):
        list(stream.blocks())


class Flipped(InProcessQuery):
    """Flips one bit of the answer, every time."""

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
        with super().stream(path, body) as chunks:
            raw = bytearray(b"".join(chunks))
            raw[-200] ^= 1
            yield iter([bytes(raw)])


def test_damage_on_the_way_is_seen(filled: tuple[ChdbReader, StoreFill]) -> None:
    request = TupliDataset(None).with_benchmark_filter(F("name") == "bench")._query.request(COLUMNS)
    stream = DatasetStream(Flipped(filled[0]), request, sleep=lambda _: None)
    with pytest.raises((TransportError, IntegrityError)):
        list(stream.blocks())


def test_flat_forms_never_glue(dataset: TupliDataset) -> None:
    kept = dataset.with_tuple_filter(F("reward") > 0).load()
    terminals, timeouts = kept.terminals, kept.timeouts
    table = kept.to_numpy()
    for i in range(len(terminals)):
        last = i + 1 == len(terminals)
        joined = (
            not last
            and table["episode"][i + 1] == table["episode"][i]
            and table["step"][i + 1] == table["step"][i] + 1
        )
        assert joined != bool(terminals[i] or timeouts[i])
        assert not (terminals[i] and timeouts[i])
    data = kept.convert_to_d4rl_format()
    np.testing.assert_array_equal(data["timeouts"], timeouts)
    obs, act, rew, term, trunc = kept.convert_to_tensors()
    assert len(obs) == len(act) == len(rew) == len(term) == len(trunc) == len(kept.tuples)


def test_batches_are_the_dataset(dataset: TupliDataset) -> None:
    whole = dataset.to_numpy()
    for size in (1, 7, 1_000):
        parts = list(dataset.batches(size))
        for word, values in whole.items():
            np.testing.assert_array_equal(np.concatenate([part[word] for part in parts]), values)
    shuffled = dataset.batches(7, shuffle=True, seed=3, window=1_000)
    assert shuffled.window == 1_000
    once, twice = ([batch["reward"] for batch in shuffled] for _ in range(2))
    np.testing.assert_array_equal(np.concatenate(once), np.concatenate(twice))
    np.testing.assert_array_equal(np.sort(np.concatenate(once)), np.sort(whole["reward"]))
    assert not np.array_equal(np.concatenate(once), whole["reward"])


def test_episodes_come_whole(dataset: TupliDataset) -> None:
    got = list(dataset.iter_episodes())
    assert len(got) == len(EPISODES)
    for episode, rows in zip(got, EPISODES, strict=True):
        np.testing.assert_array_equal(episode.observations, rows.observation)
        np.testing.assert_array_equal(episode.rewards, rows.reward)
    with pytest.raises(InvalidInput, match="whole"):
        dataset.with_tuple_filter(F("reward") > 0).iter_episodes()


def test_load_refuses_more_than_it_may_take(dataset: TupliDataset) -> None:
    with pytest.raises(InvalidInput, match=r"more than the 1\.0 kB allowed.*dataset\.batches"):
        dataset.load(max_bytes=1_000)
    assert len(dataset.with_tuple_filter(F("reward") > 1e9).load(max_bytes=1_000).rewards) == 0


def test_open_episodes_come_only_when_asked_for(
    filled: tuple[ChdbReader, StoreFill], another: StoreFill
) -> None:
    running = random_rows(
        SCHEMA, 9, seed=5, ordinal=5, status="open", terminated=False, has_final=False, prefix=6
    )
    another.episodes(SCHEMA, [random_rows(SCHEMA, 4, ordinal=1), running])
    data = TupliDataset(StorageOver(filled[0]))
    assert len(data.to_numpy()["reward"]) == 4
    table = data.including("open").to_numpy()
    assert len(table["reward"]) == 10
    assert table["has_next"].tolist() == [True] * 9 + [False]


def test_sessions_are_bounded_and_given_back(
    filled: tuple[ChdbReader, StoreFill], dataset: TupliDataset
) -> None:
    held = [filled[0].session() for _ in range(3)]
    with pytest.raises(TransportError, match="try again"):
        list(
            DatasetStream(
                InProcessQuery(filled[0]), dataset._query.request(COLUMNS), retries=1, sleep=lambda _: None
            ).blocks()
        )
    for session in held:
        session.close()
    for _ in range(5):
        assert len(dataset.to_numpy(["reward"])["reward"]) == 68
