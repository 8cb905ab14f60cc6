"""Columns of other libraries are taken by position: what their labels or tables say changes nothing."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from tupli.datasets.infos import Infos
from tupli.errors import InvalidInput
from tupli.models import Episode
from tupli_schemas.values import encode


class Series:
    """Looked up by label, as pandas does; as an array in the order of its rows."""

    def __init__(self, values: Any, labels: list[int]) -> None:
        self._values = np.asarray(values)
        self._at = {label: index for index, label in enumerate(labels)}

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._values.dtype

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, label: int) -> Any:
        return self._values[self._at[label]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:  # noqa: FBT001 - NumPy's protocol
        return self._values


class Frame:
    """A table of columns of their own dtypes."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:  # noqa: FBT001 - NumPy's protocol
        return np.zeros((4, 2))


class Untakable(Series):
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:  # noqa: FBT001 - NumPy's protocol
        raise RuntimeError("wants gradients")


def _episode(**given: Any) -> Episode:
    plain: dict[str, Any] = {
        "observations": np.arange(4.0),
        "actions": [1, 2, 3],
        "rewards": [0.5, 1.5, 2.5],
        "terminated": False,
        "truncated": True,
    }
    return Episode.from_arrays(benchmark_id="b", **(plain | given))


@pytest.mark.parametrize("labels", [[2, 1, 0, 3], [10, 11, 12, 13]])
def test_labels_reorder_nothing(labels: list[int]) -> None:
    made = _episode(
        observations={
            "x": Series(np.arange(8.0).reshape(4, 2), labels),
            "y": (Series([5, 6, 7, 8], labels),),
        },
        actions=Series([7, 8, 9], labels[:3]),
        rewards=Series([0.5, 1.5, 2.5], labels[:3]),
        infos=Series([{"i": 0}, {"i": 1}, {"i": 2}], labels[:3]),
        terminated=Series([False, False, True], labels[:3]),
    )
    assert [item.action for item in made.tuples] == [7, 8, 9]
    assert [item.reward for item in made.tuples] == [0.5, 1.5, 2.5]
    assert [item.info for item in made.tuples] == [{"i": 0}, {"i": 1}, {"i": 2}]
    assert [item.state["x"].tolist() for item in made.tuples] == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert [item.state["y"] for item in made.tuples] == [(5,), (6,), (7,)]
    assert made.final_observation["x"].tolist() == [6.0, 7.0]
    assert [item.terminal for item in made.tuples] == [False, False, True]


def _three(*values: Any) -> Iterator[Any]:
    yield from values


def test_the_infos_of_a_dataset_are_infos() -> None:
    given = [{"i": 0}, {}, {"i": None}]
    rows = pa.chunked_array([pa.array([encode(info) for info in given], pa.binary())])
    assert [item.info for item in _episode(infos=Infos(rows)).tuples] == given


def test_iterators_are_read() -> None:
    made = _episode(
        observations=_three(0, 1, 2, 3),
        actions=_three(1, 2, 3),
        rewards=_three(1, 2, 3),
        infos=_three({}, {"i": 1}, {}),
    )
    assert [item.state for item in made.tuples] == [0, 1, 2]
    assert made.final_observation == 3
    assert made.tuples[1].info == {"i": 1}


@pytest.mark.parametrize("place", ["observations", "actions", "rewards", "infos"])
@pytest.mark.parametrize(
    ("values", "told"),
    [
        (Frame(), "no dtype"),
        (Untakable([0.0] * 3, [0, 1, 2]), "gradients"),
        (5, "int"),
        ("text", "str"),
        (np.float64(3.0), "float64|one value"),
        (np.zeros(()), "one value"),
    ],
)
def test_what_is_no_column_is_refused_by_name(place: str, values: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as caught:
        _episode(**{place: values})
    assert caught.value.place == place


@pytest.mark.parametrize("values", [{0: 1.0, 1: 2.0, 2: 3.0}, {1.0, 2.0, 3.0}], ids=["dict", "set"])
@pytest.mark.parametrize("place", ["rewards", "infos"])
def test_a_dict_has_no_rows_and_a_set_no_order(place: str, values: Any) -> None:
    with pytest.raises(InvalidInput, match=type(values).__name__) as caught:
        _episode(**{place: values})
    assert caught.value.place == place


def test_members_of_different_lengths_are_refused_where_they_are() -> None:
    with pytest.raises(InvalidInput, match="different lengths") as caught:
        _episode(actions=(np.zeros(3), np.zeros(4)))
    assert caught.value.place == "actions"


def test_no_two_tuples_share_an_info() -> None:
    made = _episode()
    made.tuples[0].info["seen"] = True
    assert made.tuples[1].info == {}


def test_masked_flags_are_refused() -> None:
    with pytest.raises(InvalidInput, match="flags"):
        _episode(terminated=np.ma.MaskedArray([0, 0, 1], mask=np.array([False, True, False])))
