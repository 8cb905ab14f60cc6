"""Parsers of frameworks that are not installed here, over fakes of the one function that each calls."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tupli.datasets.parsers import BaseTupleParser, NumpyTupleParser, TensorFlowTupleParser, TorchTupleParser
from tupli.errors import InvalidInput, TupliError

REWARDS = np.zeros(2)
FLAGS = np.zeros(2, bool)
GRAPHS = np.array([object(), object()])


def _convert_to_tensor(value: Any) -> tuple[str, Any]:
    if value.dtype == object and not all(isinstance(item, str) for item in value):
        raise ValueError("Failed to convert a NumPy array to a Tensor (Unsupported object type object).")
    return "tensor", value


def _from_numpy(value: Any) -> tuple[str, Any]:
    if value.dtype.kind not in "biufc":
        raise TypeError(f"can't convert np.ndarray of type {value.dtype}.")
    return "tensor", value


@pytest.fixture(autouse=True)
def _frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, function in (("tensorflow", _convert_to_tensor), ("torch", _from_numpy)):
        module = ModuleType(name)
        setattr(module, function.__name__.removeprefix("_"), function)
        monkeypatch.setitem(sys.modules, name, module)


def parse(parser: type[BaseTupleParser], observation: Any, action: Any = REWARDS) -> tuple[Any, ...]:
    return parser.parse_lists(observation, action, REWARDS, FLAGS, FLAGS)


@pytest.mark.parametrize("parser", [TensorFlowTupleParser, TorchTupleParser])
def test_arrays_become_tensors_leaf_by_leaf(parser: type[BaseTupleParser]) -> None:
    image = np.zeros((2, 3), np.uint8)
    observation, action, *others = parse(parser, {"image": image, "inner": (REWARDS,)})
    assert observation["image"] == ("tensor", image)
    assert observation["inner"] == (("tensor", REWARDS),)
    assert [kind for kind, _ in (action, *others)] == ["tensor"] * 4


@pytest.mark.parametrize("parser", [TensorFlowTupleParser, TorchTupleParser])
@pytest.mark.parametrize(
    ("observation", "action", "place"),
    [
        (GRAPHS, REWARDS, "observation"),
        ({"a": REWARDS, "inner": ({"graph": GRAPHS},)}, REWARDS, "observation.inner[0].graph"),
        (REWARDS, (REWARDS, GRAPHS), "action[1]"),
        ({"n.x": GRAPHS}, REWARDS, "observation.`n.x`"),
    ],
)
def test_what_has_no_tensor_names_its_column(
    parser: type[BaseTupleParser], observation: Any, action: Any, place: str
) -> None:
    with pytest.raises(InvalidInput, match="no tensor for values of dtype object") as caught:
        parse(parser, observation, action)
    assert caught.value.place == place
    assert str(caught.value).startswith(f"{place}: ")


def test_texts_are_tensors_where_the_framework_has_such() -> None:
    texts = np.array(["a", "b"], object)
    assert parse(TensorFlowTupleParser, texts)[0] == ("tensor", texts)
    with pytest.raises(InvalidInput, match=r"^observation: torch has no tensor"):
        parse(TorchTupleParser, texts)
    assert parse(NumpyTupleParser, texts)[0] is texts


def test_a_framework_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(TupliError, match=r"pip install 'tupli\[torch\]'"):
        parse(TorchTupleParser, REWARDS)
