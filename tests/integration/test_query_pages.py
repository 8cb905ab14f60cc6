"""Pages of a dataset through the real engine: what comes between listing and reading, and what goes wrong there."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from support.query_calls import NOW_NS, StorageOver
from support.store_fill import StoreFill, array_schema, random_rows
from tupli.datasets.tupli_dataset import TupliDataset
from tupli_query.adapters.chdb_reader import ChdbReader
from tupli_query.core import datasets
from tupli_query.core.context import Context
from tupli_query.core.pages import EpisodePage
from tupli_query.core.planning import Plan
from tupli_query.core.reader import (
    ChunkStream,
    ReaderFailed,
    ReadSession,
    Statement,
    StoreReader,
    TooMuchToSort,
)
from tupli_query.core.requests import dataset_request
from tupli_query.core.sql import CompiledQuery
from tupli_query.core.visibility import LOCAL
from tupli_schemas.filters import F

SCHEMA = array_schema("f4[3]", "i8[]")
ALL = F("reward") > -100
GENERATIONS = itertools.count(1)
"""A process has one engine, and every test a generation of its own."""


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ChdbReader, StoreFill]]:
    path = tmp_path_factory.getbasetemp() / "pages"
    with StoreFill(path, generation=next(GENERATIONS)) as fill:
        fill.benchmark("bench")
        reader = ChdbReader(str(path), max_sessions=3)
        yield reader, fill
        reader.close()


@pytest.mark.parametrize("kept", [None, ALL, F("next_observation[0]") > -100])
@pytest.mark.parametrize("has_final", [True, False])
def test_what_comes_behind_the_listing_is_not_in_the_dataset(
    store: tuple[ChdbReader, StoreFill], monkeypatch: pytest.MonkeyPatch, kept: Any, *, has_final: bool
) -> None:
    reader, fill = store
    rows = [random_rows(SCHEMA, 5 + i, seed=i, ordinal=i + 1, has_final=has_final) for i in range(2)]
    fill.episodes(SCHEMA, rows)
    pages = datasets.pages

    def late(reader: StoreReader, made: Plan) -> Iterator[EpisodePage]:
        for page in pages(reader, made):
            fill.steps(SCHEMA, [random_rows(SCHEMA, 20, seed=9, ordinal=i + 1) for i in range(2)], offset=99)
            yield page

    monkeypatch.setattr(datasets, "pages", late)
    data = TupliDataset(StorageOver(reader)).with_tuple_filter(kept)
    for words in (["reward", "step"], ["reward", "step", "next_observation"]):
        table = data.to_numpy(words)
        lost = 0 if has_final or kept is None or kept is ALL else 1  # nobody knows the last next observation
        expected = [one.reward[: one.n_steps - lost] for one in rows]
        np.testing.assert_array_equal(table["reward"], np.concatenate(expected))


class Failing:
    """A session that notes how statements are read, and fails the sorted ones."""

    def __init__(self, session: ReadSession, error: Exception) -> None:
        self._session = session
        self._error = error
        self.opened: list[bool] = []

    def open(self, statement: Statement, *, max_block_rows: int) -> ChunkStream:
        """As the session does, unless it is sorted."""
        self.opened.append("max_bytes_to_sort" in statement.text)
        if self.opened[-1]:
            raise self._error
        return self._session.open(statement, max_block_rows=max_block_rows)

    def close(self) -> None:
        """Close the session."""
        self._session.close()


def test_only_what_is_too_much_to_sort_is_read_again(
    store: tuple[ChdbReader, StoreFill], caplog: pytest.LogCaptureFixture
) -> None:
    reader, fill = store
    fill.episodes(SCHEMA, [random_rows(SCHEMA, 5)])
    body = TupliDataset(StorageOver(reader)).with_tuple_filter(ALL)._query.request(("reward",))
    context = Context(database=fill.database, visibility=LOCAL, now_ns=NOW_NS)
    made = datasets.plan(reader, context, dataset_request(body))
    with caplog.at_level("INFO", logger=datasets.__name__):
        much = Failing(reader.session(), TooMuchToSort("16 MiB"))
        assert len(list(datasets.frames(reader, much, made))) > 2
        assert much.opened == [True, False]
        assert len(caplog.records) == 1
        broken = Failing(reader.session(), ReaderFailed("no disk"))
        with pytest.raises(ReaderFailed, match="no disk"):
            list(datasets.frames(reader, broken, made))
        assert broken.opened == [True]


def test_the_engine_s_own_words_tell_them_apart(store: tuple[ChdbReader, StoreFill]) -> None:
    reader, _ = store
    numbers = "SELECT toString(number) AS text FROM numbers(100000)"
    session = reader.session()
    for text, kind in (
        (f"{numbers} ORDER BY text SETTINGS max_bytes_to_sort = 100", TooMuchToSort),
        (f"{numbers} WHERE throwIf(number = 9) SETTINGS max_bytes_to_sort = 100", ReaderFailed),
        (f"{numbers} SETTINGS max_result_rows = 10", ReaderFailed),
    ):
        with pytest.raises(ReaderFailed) as caught:
            session.open(CompiledQuery(LOCAL, text), max_block_rows=1_000).fetch()
        assert type(caught.value) is kind
    session.close()
