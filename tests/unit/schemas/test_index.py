"""The index says of each row what its values say, whichever way the row takes and whatever stands beside it."""

import math
import tracemalloc
from collections import OrderedDict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.sameness import same_number
from support.strategies import infos, json_scalars
from tupli_schemas.index import IndexColumns, RowIndex, index_one, index_rows, index_tagged
from tupli_schemas.paths import escape_key, join_path, split_path, unescape_key
from tupli_schemas.values import encode


def plain_index(value: Any) -> RowIndex:
    """The index of a value by the words of the definition, over Python values."""
    out = RowIndex()
    if isinstance(value, dict):
        _walk(value, "", out)
    return out


def _walk(value: dict[Any, Any], prefix: str, out: RowIndex) -> None:
    for key, item in value.items():
        if out.count == 256 or type(key) is not str or not _is_unicode(key):
            continue
        path = prefix + key.replace("%", "%25").replace(".", "%2E")
        out.add(path, *_kind(item.item() if _is_number(item) else item))
        if isinstance(item, dict) and path.count(".") < 7:
            _walk(item, f"{path}.", out)


def _is_number(item: Any) -> bool:
    return isinstance(item, np.generic) and item.dtype.kind in "biuf" and item.dtype.itemsize <= 8


def _kind(item: Any) -> Any:
    if isinstance(item, bool | float):
        return "num", float(item)
    if isinstance(item, int):
        if abs(item) <= 2**53:
            return "num", float(item)
        return ("int", item) if -(2**63) <= item < 2**63 else ("other", None)
    if isinstance(item, str) and _is_unicode(item) and len(item.encode()) <= 8192:
        return "str", item
    return "other", None


def _is_unicode(text: str) -> bool:
    return not any(0xD800 <= ord(char) < 0xE000 for char in text)


def row(columns: IndexColumns, i: int) -> tuple[list[Any], list[Any], list[Any], list[str]]:
    found = (columns.num[i], columns.int_[i], columns.str_[i], columns.other[i])
    num, int_, str_, other = (cell.as_py() for cell in found)
    return num, int_, str_, other


def check(cells: list[bytes], expected: list[RowIndex]) -> None:
    columns = index_rows(pa.array(cells, pa.binary()))
    for column in columns.named("info").values():
        column.validate(full=True)
        assert len(column) == len(cells)
    for i, want in enumerate(expected):
        num, int_, str_, other = row(columns, i)
        assert (int_, str_, other) == (list(want.int_.items()), list(want.str_.items()), want.other)
        assert [path for path, _ in num] == list(want.num)
        assert all(map(same_number, (value for _, value in num), want.num.values()))


@settings(max_examples=50, deadline=None)
@given(st.lists(infos, max_size=6))
def test_rows_are_indexed_as_their_values_say(rows: list[dict[str, Any]]) -> None:
    expected = [plain_index(info) for info in rows]
    for info, want in zip(rows, expected, strict=True):
        got = index_one(info)
        assert (got.int_, got.str_, got.other) == (want.int_, want.str_, want.other)
        assert list(got.num) == list(want.num)
    check([encode(info) for info in rows], expected)


MANY = {f"m{number}": number / 2 for number in range(8)}
"""So many keys that blocks of rows which are alike go a way of their own."""


@pytest.mark.parametrize("more", [{}, MANY], ids=["few keys", "many keys"])
@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(json_scalars, st.floats(), st.floats(width=32).map(np.float32)), min_size=3, max_size=3
    ),
    st.lists(st.integers(0, 2), min_size=1, max_size=20),
)
def test_the_columnwise_way_equals_the_definition(
    more: dict[str, Any], kinds: list[Any], picks: list[int]
) -> None:
    """Rows of one shape with distinct values, so that neither the dictionary nor single rows are used."""
    rows = [
        {"n": i, "v": kinds[pick], "d": {"x": kinds[pick - 1], "y.z": i / 2}, **more}
        for i, pick in enumerate(picks)
    ]
    check([encode(info) for info in rows], [plain_index(info) for info in rows])


@pytest.mark.parametrize("count", [0, 1, 2, 255, 256, 257, 1000])
def test_any_number_of_rows(count: int) -> None:
    rows: list[dict[str, Any]] = [
        {} if i % 3 == 0 else {"i": i, **({"e": {"r": 1.5}} if i % 7 == 0 else {})} for i in range(count)
    ]
    check([encode(info) for info in rows], [plain_index(info) for info in rows])


def test_blocks_of_rows_that_are_alike_and_of_others_follow_each_other() -> None:
    rows: list[dict[str, Any]] = [
        {"i": i, "f": i / 2, "s": str(i), "n": None, "big": 2**60 + i, "d": {"x": np.float32(i)}, **MANY}
        if i // 256 in (0, 3, 4)
        else {f"k{i % 5}": i, "f": 0.5}
        for i in range(6 * 256 - 100)
    ]
    rows[256 * 4 + 7] = {"i": 1, "f": "text", "s": "", "n": None, "big": 0, "d": {"x": 2**60}, **MANY}
    check([encode(info) for info in rows], [plain_index(info) for info in rows])


@pytest.mark.parametrize("odd", [2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 1e300, True, None, "x", {"a": 1}])
def test_one_odd_value_among_numbers(odd: Any) -> None:
    rows: list[dict[str, Any]] = [
        {"i": i, "f": i / 2, "v": odd if i == 77 else i, **MANY} for i in range(300)
    ]
    check([encode(info) for info in rows], [plain_index(info) for info in rows])


def test_repeated_rows_and_a_slice_are_indexed_row_by_row() -> None:
    cells = [b"{}", encode({"a": True}), encode({"a": True}), b"{}", encode({"s": "x"}), encode({"a": True})]
    array = pa.array([b"junk", *cells], pa.binary())[1:]
    columns = index_rows(pa.chunked_array([array[:2], array[2:]]))
    assert columns.num.to_pylist() == [[], [("a", 1.0)], [("a", 1.0)], [], [], [("a", 1.0)]]
    assert columns.str_.to_pylist()[4] == [("s", "x")]


@pytest.mark.parametrize(
    ("value", "num", "int_", "str_", "other"),
    [
        ({"a": 1, "b": 2.5, "c": True}, {"a": 1.0, "b": 2.5, "c": 1.0}, {}, {}, []),
        ({"a": 2**53, "b": 2**53 + 1, "c": 2**63}, {"a": 2.0**53}, {"b": 2**53 + 1}, {}, ["c"]),
        ({"a": np.int64(-5), "b": np.uint64(2**63)}, {"a": -5.0}, {}, {}, ["b"]),
        ({"a": math.inf, "b": np.float32(-math.inf)}, {"a": math.inf, "b": -math.inf}, {}, {}, []),
        ({"s": "", "u": np.str_("x"), "b": b"x"}, {}, {}, {"s": "", "u": "x"}, ["b"]),
        ({"a": None, "b": [1], "c": (), "d": np.zeros(2)}, {}, {}, {}, ["a", "b", "c", "d"]),
        ({"a": {"b": {"c": 1}}, "a.b": 2}, {"a.b.c": 1.0, "a%2Eb": 2.0}, {}, {}, ["a", "a.b"]),
        ({"d": {}, "%": 1}, {"%25": 1.0}, {}, {}, ["d"]),
        ({1: 2, "$x": 3, "n": {2: 1, "k": 1}}, {"$x": 3.0, "n.k": 1.0}, {}, {}, ["n"]),
        ({"o": OrderedDict(a=1)}, {"o.a": 1.0}, {}, {}, ["o"]),
        (
            {"long": "x" * 8192, "longer": "x" * 8193, "wide": "ü" * 4097},
            {},
            {},
            {"long": "x" * 8192},
            ["longer", "wide"],
        ),
        ([1, 2], {}, {}, {}, []),
        (OrderedDict(a=1), {"a": 1.0}, {}, {}, []),
    ],
)
def test_the_definition(value: Any, num: Any, int_: Any, str_: Any, other: Any) -> None:
    got = index_one(value)
    assert (got.num, got.int_, got.str_, got.other) == (num, int_, str_, other)
    check([encode(value), encode({"z": value})], [got])


def test_depth_paths_and_path_lengths_are_bounded() -> None:
    deep: Any = 1
    for _ in range(12):
        deep = {"k": deep}
    assert max(path.count(".") for path in index_one(deep).other) == 7
    wide = {f"k{i}": i for i in range(300)}
    assert len(index_one(wide).num) == 256
    many = {f"g{i}": {f"k{j}": j for j in range(20)} for i in range(20)}
    assert index_one(many).count == 256
    long = {"x" * 1024: 1, "y" * 1025: 1, "ü" * 600: 1}
    assert list(index_one(long).num) == ["x" * 1024]
    rows = [deep, wide, many, long]
    check([encode(one) for one in rows], [index_one(one) for one in rows])
    for one in rows:
        check([encode(one), encode({**one, "zzz": 1})], [index_one(one)])


HOSTILE = [
    b"",
    b"not json",
    b'{"a":1},{"a":2}',
    b"[1",
    b"2]",
    b'{"a":1}{"b":2}',
    b'{"a":1,"a":2}',
    b'{"$d":5}',
    b'{"$d":[["a",1],["a","x"],[1],["b"]]}',
    b'{"$as":5}',
    b'{"x":{"$as":["t",{"$as":["u",{"y":1}]}]}}',
    b'{"x":{"$f4":{}}}',
    b'{"x":{"$f4":"zz"}}',
    b'{"x":{"$f4":"0000c07f00"}}',
    b'{"x":{"$i1":99999999999999999999}}',
    b'{"x":{"$f":"nonsense"}}',
    b'{"x":{"$unknown":{"y":1}}}',
    b'{"":1}',
    b"[" * 1000 + b"]" * 1000,
    b'{"x":' * 900 + b"1" + b"}" * 900,
    b'\xff\xfe{"a":1}',
    b'{"a":1e999}',
]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([*HOSTILE, b'{"a":1.5}', b'{"a":2}', b"{}"]), max_size=12))
def test_hostile_rows_are_never_refused_and_do_not_touch_their_neighbours(cells: list[bytes]) -> None:
    together = index_rows(pa.array(cells, pa.binary()))
    for i, cell in enumerate(cells):
        assert row(together, i) == row(index_rows(pa.array([cell], pa.binary())), 0)
        if cell == b'{"a":2}':
            assert row(together, i) == ([("a", 2.0)], [], [], [])


def test_damaged_tags_in_metadata_have_no_paths_inside() -> None:
    assert index_tagged({"$as": [1]}).count == 0
    assert index_tagged({"x": {"$d": [[{}, 1], 5]}}).other == ["x"]


@given(st.lists(st.text(), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_paths_are_read_as_they_were_written(keys: list[str]) -> None:
    assert split_path(join_path(*keys)) == tuple(keys)
    assert [unescape_key(escape_key(key)) for key in keys] == keys


def test_keys_that_anyone_sends_do_not_fill_the_memory() -> None:
    tracemalloc.start()
    try:
        for number in range(20):
            keys = (f"{number}-{i}" + "x" * 100_000 for i in range(9))
            index_rows(pa.array([encode(dict.fromkeys(keys, 1.0))], pa.binary()))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4_000_000
