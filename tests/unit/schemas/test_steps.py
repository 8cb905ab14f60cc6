"""Layouts have one spelling, step schemas survive JSON, and cells come back as they went into Arrow."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cells import cells_of
from support.sameness import same
from support.strategies import array_of
from tupli_schemas.errors import SchemaMismatch
from tupli_schemas.steps import (
    MAX_LEAVES,
    NUMERIC,
    OPAQUE,
    Cell,
    Layout,
    Leaf,
    StepSchema,
    as_cells,
)

shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
cells = st.one_of(
    st.builds(Cell, st.sampled_from(sorted(NUMERIC)), shapes), st.builds(Cell, st.sampled_from(OPAQUE))
)
layouts = st.builds(Layout, *[st.lists(cells, max_size=3).map(tuple)] * 3)


@settings(max_examples=50)
@given(layouts)
def test_a_layout_is_the_layout_of_its_text(layout: Layout) -> None:
    assert Layout.parse(layout.text) == layout
    assert len(layout.arrow_schema) == 8 + len(layout.columns)


@settings(max_examples=50)
@given(st.text(alphabet="oax=;|[],0123f48biuraw ", max_size=30))
def test_a_text_that_is_no_layout_is_refused(text: str) -> None:
    try:
        layout = Layout.parse(text)
    except SchemaMismatch:
        return
    assert layout.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o=;a=",
        "a=;o=;x=",
        "o=f4;a=;x=",
        "o=f4[;a=;x=",
        "o=f4[,3];a=;x=",
        "o=f4[3,];a=;x=",
        "o=f4[-1];a=;x=",
        "o=f4[٣];a=;x=",
        "o=f4[03];a=;x=",
        "o=f9[3];a=;x=",
        "o=raw[];a=;x=",
        "o=raw[3];a=;x=",
        "o=f4[99999999999999999999];a=;x=",
        "o=f4[0,9999999999];a=;x=",
        "o=u1[1048576,9];a=;x=",
        f"o=u1[{','.join(['1'] * 33)}];a=;x=",
        f"o={'|'.join(['raw'] * (MAX_LEAVES + 1))};a=;x=",
        "o=" + "9" * 100_000,
    ],
)
def test_hostile_layouts_are_refused(text: str) -> None:
    with pytest.raises(SchemaMismatch):
        Layout.parse(text)


def test_layouts_of_the_same_cells_share_a_table() -> None:
    layout = Layout.parse("o=f4[17]|i8[];a=f4[6];x=")
    assert layout.table == "steps_e7cb60a1026517fd"
    assert layout.table == Layout.parse(layout.text).table
    assert layout.table != Layout.parse("o=f4[17];a=i8[]|f4[6];x=").table
    assert [name for name, _ in layout.columns] == ["o0", "o1", "a0"]


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(NUMERIC)), shapes, st.integers(0, 4), st.data())
def test_cells_come_back_as_they_went_in(
    code: str, shape: tuple[int, ...], count: int, data: st.DataObject
) -> None:
    cell = Cell(code, shape)
    rows = data.draw(array_of(cell.dtype, (count, *shape)))
    column = as_cells(rows, cell)
    column.validate(full=True)
    assert column.type == cell.arrow_type
    assert len(column) == count
    assert same(cells_of(column, cell), rows)
    if count > 1:
        assert same(cells_of(column.slice(1), cell), rows[1:])


def test_cells_share_memory_with_the_rows() -> None:
    rows = np.zeros((4, 3), "f4")
    column = as_cells(rows, Cell("f4", (3,)))
    rows[2, 1] = 5
    assert column[2].as_py() == [0, 5, 0]


@pytest.mark.parametrize(
    "rows", [np.zeros((2, 3)), np.zeros((2, 4), "f4"), np.zeros(2, "f4"), np.zeros((2, 3), ">f4")]
)
def test_rows_of_another_type_are_refused(rows: np.ndarray[Any, Any]) -> None:
    with pytest.raises(SchemaMismatch):
        as_cells(rows, Cell("f4", (3,)))


schema_leaves = st.lists(st.builds(Leaf, st.text(max_size=5), cells), max_size=3).map(tuple)


@settings(max_examples=50)
@given(schema_leaves, schema_leaves, schema_leaves)
def test_a_step_schema_survives_json(o: tuple[Leaf, ...], a: tuple[Leaf, ...], x: tuple[Leaf, ...]) -> None:
    schema = StepSchema(o, a, x, {"kind": "text"}, None, {"type": "Box"}, None, "float32", {"kind": "value"})
    assert StepSchema.from_json(schema.to_json()) == schema


def test_a_schema_written_before_extra_had_a_structure_is_read() -> None:
    data = StepSchema((), ()).to_json()
    del data["extra_structure"]
    assert StepSchema.from_json(data) == StepSchema((), ())


LEAF = {"path": "", "cell": "f4[3]"}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        5,
        {},
        {"observation": 5, "action": [], "extra": []},
        {"observation": [5], "action": [], "extra": []},
        {"observation": [{}], "action": [], "extra": []},
        {"observation": [LEAF | {"path": 5}], "action": [], "extra": []},
        {"observation": [LEAF | {"cell": 5}], "action": [], "extra": []},
        {"observation": [LEAF | {"dtype": []}], "action": [], "extra": []},
        {"observation": [LEAF | {"shape": ["x"]}], "action": [], "extra": []},
        {"observation": [LEAF | {"shape": [-1]}], "action": [], "extra": []},
    ],
)
def test_what_is_no_step_schema_is_refused(data: Any) -> None:
    with pytest.raises(SchemaMismatch):
        StepSchema.from_json(data)


def test_arrow_types_have_no_nulls() -> None:
    assert all(not field.nullable for field in Layout.parse("o=f4[2];a=raw;x=b1[]").arrow_schema)
    assert Cell("f4", (2,)).arrow_type == pa.list_(pa.field("item", pa.float32(), nullable=False), 2)
