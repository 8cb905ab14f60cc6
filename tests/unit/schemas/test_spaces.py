"""Spaces and structures: what an environment gives is cut into columns and comes back as it was."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from support.sameness import same, same_number
from support.strategies import NUMERIC_DTYPES, OTHER_DTYPES, array_of, arrays, spaces_with_samples, values
from tupli._spaces import space_to_json
from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.spaces import (
    Graph,
    Structure,
    group_structure,
    join_structures,
    step_schema_of,
    structure_of_space,
    structure_of_value,
    structure_of_values,
)
from tupli_schemas.steps import MAX_LEAVES, Cell, Leaf, StepSchema
from tupli_schemas.values import decode, encode, lossy


def through_json(data: Any) -> Any:
    return json.loads(json.dumps(data))


def there_and_back(structure: Structure, value: Any) -> Any:
    """The value after its cells went as what Arrow gives: arrays of the storage dtype, or bytes."""
    cells = structure.flatten(value)
    for cell, leaf in zip(cells, structure.leaves(), strict=True):
        if leaf.cell.is_opaque:
            assert isinstance(cell, bytes)
        else:
            assert isinstance(cell, np.ndarray)
            assert (cell.dtype, cell.shape) == (leaf.cell.dtype, leaf.cell.shape)
    return Structure.from_json(through_json(structure.to_json()), graph=spaces.GraphInstance).unflatten(cells)


def columns_of(structure: Structure, samples: list[Any]) -> list[Any]:
    rows = [structure.flatten(sample) for sample in samples]
    columns: list[Any] = []
    for leaf, *cells in zip(structure.leaves(), *rows, strict=True):
        if leaf.cell.is_opaque:
            columns.append(cells)
        else:
            columns.append(np.stack([np.asarray(cell) for cell in cells]).view(leaf.cell.storage_dtype))
    return columns


@settings(max_examples=50, deadline=None)
@given(spaces_with_samples())
def test_samples_of_every_space_come_back_equal(drawn: tuple[gym.Space[Any], list[Any]]) -> None:
    space, samples = drawn
    structure = structure_in_space(space, *samples)
    for sample in samples:
        assert same_in_space(there_and_back(structure, sample), sample)


def structure_in_space(space: gym.Space[Any], *samples: Any) -> Structure:
    """As the recorder makes it."""
    return structure_of_values(space_to_json(space), *samples)


def same_in_space(one: Any, other: Any) -> bool:
    """As `same`, graphs with it."""
    if isinstance(other, spaces.GraphInstance):
        return type(one) is spaces.GraphInstance and all(map(same, tuple(one), tuple(other)))
    if isinstance(other, dict):
        return list(one) == list(other) and all(same_in_space(one[key], other[key]) for key in other)
    if isinstance(other, tuple):
        return len(one) == len(other) and all(map(same_in_space, one, other))
    return same(one, other)


@settings(max_examples=50, deadline=None)
@given(spaces_with_samples(count=1))
def test_equal_spaces_have_one_json_that_json_can_hold(drawn: tuple[gym.Space[Any], list[Any]]) -> None:
    space, _ = drawn
    data = space_to_json(space)
    assert through_json(data) == data == space_to_json(deepcopy(space))


BOUNDS = np.array([1.0, 2.0], "f4")
DIFFERENT = [
    spaces.Box(0, 1, (2,)),
    spaces.Box(-1, 1, (2,)),
    spaces.Box(0, np.inf, (2,)),
    spaces.Box(0, 1, (1, 2)),
    spaces.Box(0, 1, (2,), np.float64),
    spaces.Box(0, 1, (2,), np.uint8),
    spaces.Box(np.zeros(2, "f4"), BOUNDS),
    spaces.Box(np.zeros(2, "f4"), np.nextafter(BOUNDS, np.float32(3))),
    spaces.Discrete(2),
    spaces.Discrete(3),
    spaces.Discrete(2, start=1),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiDiscrete([3, 2]),
    spaces.MultiDiscrete([2, 3], start=[1, 0]),
    spaces.MultiDiscrete([2, 3], np.int32),
    spaces.MultiBinary(2),
    spaces.MultiBinary([2, 1]),
    spaces.Text(2),
    spaces.Text(3),
    spaces.Text(2, min_length=2),
    spaces.Text(2, charset="ab"),
    spaces.Dict([("a", spaces.Discrete(2)), ("b", spaces.Discrete(2))]),
    spaces.Dict([("b", spaces.Discrete(2)), ("a", spaces.Discrete(2))]),
    spaces.Dict({"a": spaces.Discrete(2)}),
    spaces.Tuple([spaces.Discrete(2)]),
    spaces.OneOf([spaces.Discrete(2)]),
    spaces.Sequence(spaces.Discrete(2)),
    spaces.Sequence(spaces.Discrete(2), stack=True),
    spaces.Graph(spaces.Discrete(2), None),
    spaces.Graph(spaces.Discrete(2), spaces.Discrete(2)),
]


def test_spaces_that_differ_in_anything_differ_in_their_json() -> None:
    texts = [json.dumps(space_to_json(space)) for space in DIFFERENT]
    assert len(set(texts)) == len(texts)


@settings(max_examples=50, deadline=None)
@given(values)
def test_values_without_a_space_come_back_equal(value: Any) -> None:
    structure = structure_of_value(value)
    back = there_and_back(structure, value)
    assert same(back, str(value) if isinstance(value, str) else value)
    assert structure_of_value(back) == structure


@settings(max_examples=50, deadline=None)
@given(
    st.tuples(
        st.sampled_from(NUMERIC_DTYPES + OTHER_DTYPES), st.sampled_from([(), (3,), (2, 2), (0,), (2, 0)])
    ),
    st.data(),
)
def test_batches_are_arrays_of_the_recorded_dtype(
    of: tuple[str, tuple[int, ...]], data: st.DataObject
) -> None:
    rows = [data.draw(array_of(np.dtype(of[0]), of[1])) for _ in range(3)]
    structure = structure_of_value({"x": rows[0], "t": ("text", None)})
    batch = structure.unflatten_batch(columns_of(structure, [{"x": x, "t": ("text", None)} for x in rows]))
    assert same(batch["x"], np.stack(rows).astype(of[0]))
    assert batch["t"][0].tolist() == ["text"] * 3
    assert batch["t"][1].tolist() == [None] * 3


@pytest.mark.parametrize(
    ("value", "leaves"),
    [
        (np.zeros(17, "f4"), [("", "f4[17]", "", None)]),
        (np.zeros((2, 2), "u1"), [("", "u1[2,2]", "", None)]),
        (np.int64(3), [("", "i8[]", "", None)]),
        (3, [("", "i8[]", "", None)]),
        (True, [("", "b1[]", "", None)]),
        (0.5, [("", "f8[]", "", None)]),
        ("x", [("", "text", "", None)]),
        (None, [("", "raw", "", None)]),
        (2**70, [("", "raw", "", None)]),
        (np.zeros(2, "f2"), [("", "raw", "<f2", (2,))]),
        (np.zeros(2, ">f4"), [("", "f4[2]", ">f4", (2,))]),
        (np.zeros(2, "c8"), [("", "raw", "<c8", (2,))]),
        (np.array(["a"]), [("", "raw", "", None)]),
        (np.array([None]), [("", "raw", "", None)]),
        ([1, 2, 3], [("", "i8[3]", "", None)]),
        ([1, 2.5], [("[0]", "i8[]", "", None), ("[1]", "f8[]", "", None)]),
        ([], [("", "raw", "", None)]),
        (
            {"b": 1, "a.b": (1.5, "x")},
            [(".b", "i8[]", "", None), (".a%2Eb[0]", "f8[]", "", None), (".a%2Eb[1]", "text", "", None)],
        ),
        ({1: 2}, [("", "raw", "", None)]),
        ({}, []),
    ],
)
def test_the_leaves_of_values(value: Any, leaves: list[Any]) -> None:
    structure = structure_of_value(value)
    assert [(leaf.path, leaf.cell.text, leaf.dtype, leaf.shape) for leaf in structure.leaves()] == leaves
    assert same(there_and_back(structure, value), value)


def test_what_would_be_too_many_leaves_is_one() -> None:
    assert len(structure_of_value({str(i): i for i in range(MAX_LEAVES)}).leaves()) == MAX_LEAVES
    assert len(structure_of_value({str(i): i for i in range(MAX_LEAVES + 1)}).leaves()) == 1
    deep: Any = 1.5
    for _ in range(200):
        deep = (deep,)
    assert len(structure_of_value(deep).leaves()) == 1


@pytest.mark.parametrize(
    ("first", "later", "cell"),
    [
        (np.zeros(2, "f4"), np.array([0.5, -0.0]), np.array([0.5, -0.0], "f4")),
        (np.zeros(2, "f4"), np.array([np.nan, np.inf]), np.array([np.nan, np.inf], "f4")),
        (np.zeros(2, "f4"), [1.0, 2.0], np.array([1, 2], "f4")),
        (np.zeros(2, ">f4"), np.ones(2, "f4"), np.ones(2, "f4")),
        (np.int64(0), 5, np.array(5)),
        (0, np.int32(5), np.array(5)),
        (0, 5.0, np.array(5)),
        (np.zeros((), "u1"), 255, np.array(255, "u1")),
        (np.zeros(1, "u8"), np.array([2**63 - 1]), np.array([2**63 - 1], "u8")),
    ],
)
def test_a_cast_that_is_exact_is_done(first: Any, later: Any, cell: Any) -> None:
    (got,) = structure_of_value(first).flatten(later)
    assert same(got, cell)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (np.zeros(1, "f4"), np.array([0.1])),
        (np.zeros(1, "f8"), np.array([2**53 + 1])),
        (np.zeros(1, "f8"), np.array([2**63 - 1])),
        (np.zeros(1, "f4"), np.array([0x7FF8000000000123], "u8").view("f8")),
        (np.zeros(1, "i8"), np.array([-0.0])),
        (np.zeros(1, "i8"), np.array([np.nan])),
        (np.zeros(1, "i8"), np.array([2.0**63])),
        (np.zeros(1, "i8"), np.array([2**63], "u8")),
        (np.zeros(1, "u8"), np.array([-1])),
        (np.zeros(1, "u1"), np.array([256])),
        (np.zeros(1, "?"), np.array([2])),
        (np.zeros(1, "f4"), np.array([1j])),
        (np.zeros(1, "f4"), np.zeros(2, "f4")),
        (np.zeros(1, "f4"), "x"),
        (np.zeros(1, "f4"), None),
        (np.zeros(1, "f4"), [[1.0], [1.0, 2.0]]),
        (np.zeros(1, "f4"), np.array(["x"])),
        (np.zeros(1, "M8[s]"), np.zeros(1)),
        (1, 2**63),
        ("x", 5),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 1}),
        ({"a": 1}, 5),
        ((1, 2), (1,)),
        ((1, 2), 5),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_the_leaf_is_named(first: Any, later: Any) -> None:
    with pytest.raises(SchemaMismatch) as raised:
        structure_of_value({"x": first}).flatten({"x": later})
    assert raised.value.place.startswith(".x")


def test_a_leaf_whose_name_has_dots_is_told_in_backquotes() -> None:
    with pytest.raises(SchemaMismatch, match=r"^\.`n\.x`: shape \[3\] where \[2\] belongs"):
        structure_of_value({"n.x": np.zeros(2)}).flatten({"n.x": np.zeros(3)})


@settings(max_examples=50, deadline=None)
@given(arrays(NUMERIC_DTYPES), st.sampled_from(NUMERIC_DTYPES))
def test_casts_are_exact_or_refused(array: np.ndarray[Any, Any], code: str) -> None:
    structure = structure_of_value(np.zeros(array.shape, code))
    try:
        back = structure.unflatten(structure.flatten(array))
    except SchemaMismatch:
        return
    assert back.dtype == np.dtype(code)
    with np.errstate(all="ignore"):
        assert same(back.astype(array.dtype), array)
    assert all(same_number(a, b) for a, b in zip(back.ravel().tolist(), array.ravel().tolist(), strict=True))


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        (np.zeros(2, "f4"), np.zeros(2), "f8[2]"),
        (np.zeros(2, "u1"), np.zeros(2, "i1"), "i2[2]"),
        (np.zeros(2, "f4"), np.zeros(3, "f4"), "raw"),
        (1, 1.5, "f8[]"),
        (1, "x", "raw"),
        (None, np.zeros(2), "raw"),
        (np.zeros(2, "M8[s]"), np.zeros(2), "raw"),
    ],
)
def test_a_first_reset_and_a_first_step_have_a_common_type(one: Any, other: Any, joined: str) -> None:
    structure = structure_of_values(None, {"a": one}, {"a": other})
    assert [leaf.cell.text for leaf in structure.leaves()] == [joined]
    for value in (one, other):
        structure.flatten({"a": value})


def test_structures_with_other_members_join_into_one_leaf() -> None:
    assert (
        join_structures(structure_of_value({"a": 1}), structure_of_value({"b": 1})).leaves()[0].cell.text
        == "raw"
    )
    assert (
        join_structures(structure_of_value((1,)), structure_of_value((1, 2))).leaves()[0].cell.text == "raw"
    )


def test_spaces_whose_samples_vary_are_one_leaf_whatever_the_sample() -> None:
    for space in (
        spaces.Sequence(spaces.Box(0, 1, (2,))),
        spaces.Sequence(spaces.Discrete(3), stack=True),
        spaces.OneOf([spaces.Discrete(2), spaces.Text(3)]),
        spaces.Graph(spaces.Box(0, 1, (2,)), None),
    ):
        space.seed(1)
        structure = structure_in_space(space, *(space.sample() for _ in range(3)))
        assert [leaf.cell.text for leaf in structure.leaves()] == ["raw"]


def test_a_graph_comes_back_as_gymnasiums_where_the_client_reads_it() -> None:
    space = spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(3))
    sample = space.sample()
    structure = structure_in_space(space, sample)
    cells = structure.flatten(sample)
    schema = step_schema_of(structure, structure_of_value(0))
    read = group_structure(schema, "observation", graph=spaces.GraphInstance)
    assert space.contains(read.unflatten(cells))
    assert type(group_structure(schema, "observation").unflatten(cells)) is Graph


@pytest.mark.parametrize("around", [spaces.Sequence, lambda graph: spaces.OneOf([graph])])
def test_a_graph_inside_another_value_is_one_still(around: Callable[[Any], gym.Space[Any]]) -> None:
    space = around(spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(3)))
    space.seed(1)
    sample = next(found for found in (space.sample() for _ in range(20)) if found)
    structure = structure_in_space(space, sample)
    cells = structure.flatten(sample)
    read = Structure.from_json(structure.to_json(), graph=spaces.GraphInstance).unflatten(cells)
    assert space.contains(read)
    assert same_in_space(read, sample)
    assert lossy({"seen": sample}) == []
    plain = decode(encode({"seen": sample}))["seen"]
    assert type(next(item for item in plain if isinstance(item, tuple))) is Graph
    assert encode({"seen": plain}) == encode({"seen": sample})


MASKED = np.ma.MaskedArray(np.arange(3.0), mask=np.array([False, True, False]))


def test_a_mask_is_kept_or_refused() -> None:
    value = {"x": MASKED, "y": 1}
    structure = structure_of_value(value)
    back = there_and_back(structure, value)
    assert np.array_equal(back["x"].mask, MASKED.mask)
    assert back["x"].data.tolist() == [0.0, 1.0, 2.0]
    box = space_to_json(spaces.Box(0, 1, (3,), np.float64))
    assert there_and_back(structure_of_space(box, MASKED), MASKED).mask.tolist() == MASKED.mask.tolist()
    with pytest.raises(SchemaMismatch, match="masked"):
        structure_of_value(np.zeros(3)).flatten(MASKED)
    unmasked = np.ma.MaskedArray(np.arange(3.0))
    assert there_and_back(structure_of_value(np.zeros(3)), unmasked).tolist() == [0.0, 1.0, 2.0]


def test_a_dict_has_the_order_of_its_space_and_needs_not_be_given_in_it() -> None:
    space = spaces.Dict([("b", spaces.Discrete(2)), ("a", spaces.Discrete(2))])
    structure = structure_in_space(space, {"a": 0, "b": 1})
    assert [leaf.path for leaf in structure.leaves()] == [".b", ".a"]
    assert structure.unflatten(structure.flatten({"a": 0, "b": 1})) == {"b": 1, "a": 0}


def test_a_sample_that_its_space_does_not_describe_is_taken_as_it_is() -> None:
    space = space_to_json(spaces.Dict({"a": spaces.Discrete(2)}))
    for sample in ({"z": 1.5}, np.zeros(2), (1, 2), "x"):
        assert structure_of_space(space, sample) == structure_of_value(sample)


def test_a_custom_space_has_a_name_and_no_columns_of_its_own() -> None:
    class Odd(gym.Space[Any]):
        pass

    data = space_to_json(spaces.Dict({"a": Odd()}))
    assert data["spaces"][0][1]["class"].endswith("Odd")
    assert structure_of_space(data, {"a": np.zeros(2)}).leaves()[0].cell.text == "raw"
    assert space_to_json(None) is None


def test_the_json_of_a_space_does_not_depend_on_its_random_state() -> None:
    space = spaces.Dict({"x": spaces.Box(-1, 1, (3,)), "t": spaces.Text(4)})
    before = space_to_json(space)
    space.seed(5)
    space.sample()
    assert space_to_json(space) == before


HAS_DTYPES = gym.__version__ != "1.0.0"
"""Gymnasium 1.0.0 has no other Discrete than one of int64."""
DISCRETE = [
    ({}, "i8[]"),
    *([({"dtype": np.int32}, "i4[]"), ({"dtype": np.int8}, "i1[]")] if HAS_DTYPES else []),
]


@pytest.mark.parametrize(("options", "cell"), DISCRETE)
def test_discrete_keeps_its_dtype(options: dict[str, Any], cell: str) -> None:
    space = spaces.Discrete(3, **options)
    assert Cell.parse(cell).dtype.str == space_to_json(space)["dtype"]
    assert structure_in_space(space, space.sample()).leaves()[0].cell.text == cell


@pytest.mark.parametrize(
    "data",
    [
        None,
        5,
        [],
        {},
        {"kind": "new"},
        {"kind": "array"},
        {"kind": "array", "dtype": "|O", "shape": [], "box": "ndarray"},
        {"kind": "array", "dtype": "<f4", "shape": [-1], "box": "ndarray"},
        {"kind": "array", "dtype": "<f4", "shape": [10**9], "box": "ndarray"},
        {"kind": "array", "dtype": "<f4", "shape": [1], "box": "other"},
        {"kind": "array", "dtype": "f4,f4", "shape": [1], "box": "ndarray"},
        {"kind": "dict", "items": [["a"]]},
        {"kind": "tuple", "items": 5},
    ],
)
def test_a_structure_that_is_none_is_refused(data: Any) -> None:
    with pytest.raises(SchemaMismatch):
        Structure.from_json(data)


def test_cells_that_do_not_fit_are_refused() -> None:
    structure = structure_of_value({"h": np.zeros(2, "f2"), "t": "x", "v": None, "f": np.zeros(2)})
    cells = structure.flatten({"h": np.zeros(2, "f2"), "t": "x", "v": None, "f": np.zeros(2)})
    for i, bad in ((0, b"abc"), (1, b"\xff"), (2, b"{")):
        with pytest.raises(SchemaMismatch):
            structure.unflatten([*cells[:i], bad, *cells[i + 1 :]])
    with pytest.raises(SchemaMismatch):
        structure.unflatten(cells[:-1])
    with pytest.raises(SchemaMismatch):
        structure.unflatten_batch([[], [], [], np.zeros((0, 2), "i8")])


def test_a_step_schema_carries_its_structures() -> None:
    observation = structure_of_value({"p": np.zeros(3, "f4"), "t": "x"})
    schema = step_schema_of(
        observation, structure_of_value(np.int64(1)), {"logprob": structure_of_value(0.5)}
    )
    assert schema.layout.text == "o=f4[3]|text;a=i8[];x=f8[]"
    assert [leaf.path for leaf in schema.extra] == [".logprob"]
    again = StepSchema.from_json(through_json(schema.to_json()))
    assert again == schema
    assert group_structure(again, "observation") == observation
    assert group_structure(again, "extra").unflatten([0.5]) == {"logprob": 0.5}
    wrong = StepSchema.from_json(
        schema.to_json() | {"action": [Leaf("", schema.observation[0].cell).to_json()]}
    )
    with pytest.raises(SchemaMismatch):
        group_structure(wrong, "action")


def test_a_step_has_a_thousand_columns_at_most() -> None:
    many = structure_of_value({str(i): i for i in range(600)})
    with pytest.raises(SchemaMismatch):
        step_schema_of(many, many)
