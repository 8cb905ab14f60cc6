"""Datasets are questions: immutable, and asked word for word."""

import pytest

from tupli.datasets.parsers import BaseTupleParser
from tupli.datasets.tupli_dataset import TupliDataset, dataset
from tupli.datasets.words import check_words
from tupli.errors import InvalidInput
from tupli_schemas.filters import F

ID = "018bcfe5-6800-8000-8000-000700000001"


def test_every_change_is_a_new_dataset() -> None:
    one = TupliDataset()
    two = one.with_tuple_filter(F("reward") > 0).order_by("-return").limit_episodes(3)
    assert one._query.tuple_filter is None
    assert two._query.request(("reward",)) == {
        "tuple_filter": {"type": "GT", "key": "reward", "value": 0},
        "order_by": ["-return"],
        "limit_episodes": 3,
        "columns": ["reward"],
        "next_observation": False,
    }


def test_a_second_filter_of_a_kind_replaces_the_first() -> None:
    made = TupliDataset().with_episode_filter(F("run") == "a").with_episode_filter(F("run") == "b")
    assert made._query.request(())["episode_filter"]["value"] == "b"


def test_a_function_replaces_a_filter_and_the_other_way_round() -> None:
    made = TupliDataset().with_tuple_filter(F("reward") > 0).with_tuple_filter(lambda _: True)
    assert made._query.tuple_filter is None
    assert made.with_tuple_filter(F("reward") > 0)._query.tuple_predicate is None


def test_a_dataset_is_no_sequence_and_says_what_is() -> None:
    with pytest.raises(TypeError, match=r"iter_episodes\(\).*batches\(\)"):
        dataset("bench")[0]
    with pytest.raises(TypeError, match=r"iter_episodes\(\)"):
        iter(dataset("bench")).__next__()
    assert bool(dataset("bench"))


def test_names_of_benchmarks() -> None:
    assert dataset(ID)._query.request(())["benchmark_filter"] == {"type": "EQ", "key": "id", "value": ID}
    named = dataset("cartpole")._query.request(())["benchmark_filter"]
    assert [item["value"] for item in named["filters"]] == ["me", "cartpole"]
    owned = dataset("ada/cartpole")._query.request(())["benchmark_filter"]
    assert [item["value"] for item in owned["filters"]] == ["ada", "cartpole"]


def test_wrong_input_names_its_place() -> None:
    with pytest.raises(InvalidInput, match="no column"):
        check_words(["rewards"])
    with pytest.raises(InvalidInput, match="'rewards' is no column"):
        check_words("rewards")
    with pytest.raises(InvalidInput, match="no status"):
        dataset("x", include=["finished"])
    with pytest.raises(InvalidInput, match="no filter"):
        TupliDataset().with_episode_filter("run == 1")  # type: ignore[arg-type]  # what a user may try
    with pytest.raises(InvalidInput, match="limit"):
        TupliDataset().limit(-1)
    for count in (1.5, "3", True):
        with pytest.raises(InvalidInput, match="limit_episodes"):
            TupliDataset().limit_episodes(count)  # type: ignore[arg-type]  # that is what is refused


def test_an_order_is_written_as_filters_are() -> None:
    made = TupliDataset().order_by("-metadata.`odd.key`", "metadata.a.b", "return")
    assert made._query.request(())["order_by"] == ["-metadata.odd%2Ekey", "metadata.a.b", "return"]
    with pytest.raises(InvalidInput, match=r"order_by\[1\]: 3 is no key"):
        TupliDataset().order_by("return", 3)  # type: ignore[arg-type]  # what a user may try


def test_a_change_keeps_the_kind_and_the_seed_and_not_what_was_loaded() -> None:
    class Mine(TupliDataset):
        def __init__(self, name: str) -> None:
            super().__init__(info={"name": name})

    one = Mine("a")
    one.set_seed(3)
    one._loaded = object()  # type: ignore[assignment]  # stands for what was loaded
    two = one.limit(5)
    assert isinstance(two, Mine)
    assert (two.info, two._loaded, repr(two)) == ({"name": "a"}, None, "Mine(limit=5)")
    assert two._rng.integers(1 << 40) == one._rng.integers(1 << 40)


def test_the_seeds_words_are_understood() -> None:
    assert check_words(["state", "terminal", "reward", "reward"]) == ("observation", "terminated", "reward")
    assert check_words("state") == ("observation",)


def test_a_parser_of_ones_own_gets_arrays_leaf_by_leaf() -> None:
    class Lengths(BaseTupleParser):
        @classmethod
        def parse(cls, array: object) -> object:
            return len(array)  # type: ignore[arg-type]  # arrays in this test

    parsed = Lengths.parse_lists({"a": [1], "b": ([1, 2], [3, 4])}, [1], [1], [1], [1])
    assert parsed == ({"a": 1, "b": (2, 2)}, 1, 1, 1, 1)


def test_a_dataset_shows_keys_as_they_are_written() -> None:
    made = TupliDataset().order_by("-metadata.`odd.key`").with_tuple_filter(F("info", "a.b") > 1)
    told = "tuple_filter=FilterGT(key='info.`a.b`', value=1), order_by=('-metadata.`odd.key`',)"
    assert repr(made) == f"TupliDataset({told})"
