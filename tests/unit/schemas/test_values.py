"""What goes into canonical bytes comes out equal, and bytes that are none say so."""

import collections
import enum
from typing import Any, NamedTuple

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.sameness import same
from support.strategies import infos, json_scalars, values
from tupli_schemas.errors import ValueCodecError
from tupli_schemas.values import MAX_DEPTH, Repr, decode, encode, from_tagged, lossy, to_tagged


class Colour(enum.IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


class Masked(np.ma.MaskedArray[Any, Any]):
    """Somebody's kind of masked array."""


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    def __array__(self, *_: object) -> Any:
        raise RuntimeError("no")


@settings(max_examples=50, deadline=None)
@given(values)
def test_every_value_comes_back_equal_and_nothing_is_lossy(value: Any) -> None:
    raw = encode(value)
    assert same(decode(raw), value)
    assert encode(decode(raw)) == raw
    assert lossy(value) == []
    assert same(from_tagged(orjson.loads(orjson.dumps(to_tagged(value)))), value)


@settings(max_examples=50, deadline=None)
@given(infos)
def test_the_fast_way_and_the_tagged_way_give_the_same_bytes(info: dict[str, Any]) -> None:
    assert encode(info) == orjson.dumps(to_tagged(info))


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.text(max_size=5).filter(lambda key: not key.startswith("$")), json_scalars, max_size=4)
)
def test_plain_json_stays_plain_json(value: dict[str, Any]) -> None:
    assert orjson.loads(encode(value)) == value


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        ({}, b"{}"),
        (None, b"null"),
        ({"a": 1, "b": 2.5}, b'{"a":1,"b":2.5}'),
        (1.0, b"1.0"),
        (1, b"1"),
        (True, b"true"),
        (-0.0, b"-0.0"),
        ({"a.b": "$x"}, b'{"a.b":"$x"}'),
        ({"$nd": 1}, b'{"$d":[["$nd",1]]}'),
        ({1: 2}, b'{"$d":[[1,2]]}'),
        ({"x": float("nan")}, b'{"x":{"$f":"nan"}}'),
        ((1, [2]), b'{"$t":[1,[2]]}'),
        (2**70, b'{"$i":"0x400000000000000000"}'),
        (np.float32(0.5), b'{"$f4":0.5}'),
        (np.bool_(True), b'{"$b1":true}'),
        (np.array([1, 2], "u1"), b'{"$nd":["|u1",[2],"AQI="]}'),
        ("\ud800", b'{"$s":"7aCA"}'),
    ],
)
def test_the_spelling_of_values_is_fixed(value: Any, raw: bytes) -> None:
    assert encode(value) == raw
    assert same(decode(raw), value)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2, [("a", "<f4"), ("b", "<i2", (2,)), ("c", [("d", "S3")])]),
        np.zeros(2, np.dtype([("a", "u1"), ("b", "f8")], align=True)),
        np.array([1, "a", None, {"b": np.arange(2)}], object),
        np.array(["a", "bc\ud800"]),
        np.array([b"a", b""]),
        np.datetime64("2020-01-01T00:00:00.5"),
        np.datetime64("NaT", "s"),
        np.str_("aü"),
        np.bytes_(b"a\0"),
        {1, 2, "x"},
        frozenset({(1, 2)}),
        bytearray(b"ab"),
        pytest.param(10**6_000, id="big integer"),
    ],
)
def test_rarer_types_come_back_equal(value: Any) -> None:
    assert same(decode(encode(value)), value)


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked_array([1, 2, 3], mask=[False, True, False]),
        np.ma.masked_array(
            np.arange(6, dtype=np.float32).reshape(2, 3),
            mask=[[False, True, False], [True, True, True]],
            fill_value=7,
        ),
        np.ma.masked_array([1.0, np.nan], fill_value=np.nan),
        np.ma.masked_array(5, mask=True),
        np.ma.masked_array([]),
        np.ma.masked_array(["a", "bc"], mask=[True, False]),
        np.ma.masked_array([(1, 2.5)], mask=[(True, False)], dtype=[("a", "i4"), ("b", "f8")]),
        np.ma.masked_array([{"a": 1}, None], mask=[False, True], dtype=object),
    ],
    ids=repr,
)
def test_masked_arrays_come_back_masked(value: Any) -> None:
    raw = encode({"m": [value]})
    back = decode(raw)["m"][0]
    assert type(back) is np.ma.MaskedArray
    assert same(np.ma.getdata(back), np.ma.getdata(value))
    assert (np.ma.getmask(back) is np.ma.nomask) == (np.ma.getmask(value) is np.ma.nomask)
    assert same(np.ma.getmaskarray(back), np.ma.getmaskarray(value))
    assert repr(back.fill_value) == repr(value.fill_value)
    assert encode({"m": [back]}) == raw
    assert lossy(value) == []


def test_an_element_behind_a_mask_comes_back_as_such_and_harms_nothing_beside_it() -> None:
    behind = np.ma.masked_array([1.0, 2.0], mask=[True, False])[0]
    back = decode(encode({"behind": behind, "x": 3}))
    assert back["behind"] is np.ma.masked
    assert back["x"] == 3
    assert lossy({"behind": behind}) == []


def test_a_masked_array_that_cannot_be_read_is_all_that_is_lost() -> None:
    class Unreadable(np.ma.MaskedArray[Any, Any]):
        def __getattribute__(self, name: str) -> Any:
            if name == "fill_value":
                raise RuntimeError("no")
            return super().__getattribute__(name)

    back = decode(encode({"broken": np.ma.masked_array([1.0]).view(Unreadable), "x": 3}))
    assert type(back["broken"]) is Repr
    assert back["x"] == 3


def test_a_kind_of_masked_array_comes_back_as_one() -> None:
    back = decode(encode(np.ma.masked_array([1, 2], mask=[True, False]).view(Masked)))
    assert type(back) is np.ma.MaskedArray
    assert back.tolist() == [None, 2]


def test_nan_payloads_survive_in_python_floats_and_in_arrays() -> None:
    payload = np.array([0x7FF8000000000123, 0xFFF0000000000001], "u8").view("f8")
    assert same(decode(encode(payload)), payload)
    assert same(decode(encode(float(payload[0]))), float(payload[0]))


def test_decoded_arrays_can_be_written() -> None:
    decode(encode(np.zeros(3)))[0] = 1


@pytest.mark.parametrize(
    ("value", "places", "decoded"),
    [
        ({"a": [1, object()]}, ["a[1]"], {"a": [1, Repr("<object object>")]}),
        (Colour.RED, [""], 1),
        ({"p": Point(1, 2)}, ["p"], {"p": (1, 2)}),
        ({3: Point(1, 2)}, ["[3]"], {3: (1, 2)}),
        (collections.OrderedDict(a=1), [""], {"a": 1}),
        (collections.defaultdict(list, a=[1]), [""], {"a": [1]}),
        (np.ma.masked_array([1], mask=[True]).view(Masked), [""], None),
    ],
)
def test_what_cannot_be_kept_is_listed_and_keeps_what_it_can(
    value: Any, places: list[str], decoded: Any
) -> None:
    assert lossy(value) == places
    if decoded is not None:
        assert decode(encode(value)) == decoded


def test_a_repr_encodes_to_the_same_bytes_again() -> None:
    raw = encode({"env": object()})
    assert encode(decode(raw)) == raw


def test_nothing_a_user_puts_in_raises() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    objects = np.empty(2, object)
    objects[0] = Broken()
    for value in (cycle, deep, Broken(), {"a": Broken()}, {Broken(): 1}, lambda: 0, objects):
        assert decode(encode(value)) is not None
        assert lossy(value)


def test_containers_up_to_the_depth_limit_are_exact() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH - 1):
        value = {(1, 2): value}
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"$new":1}',
        b'{"$nd":["|O",[1],"AAAAAAAAAAA="]}',
        b'{"$nd":["<f4",[1],"AAAA"]}',
        b'{"$nd":["<f4",[-1],""]}',
        b'{"$nd":["<f4",[1e9],""]}',
        b'{"$nd":["<f4",[0,4611686018427387904,4611686018427387904],""]}',
        b'{"$nd":["f4,O",[1],""]}',
        b'{"$nd":[[["a","|O"]],[1],""]}',
        b'{"$nd":["(1,",[1],""]}',
        b'{"$nd":5}',
        b'{"$np":["<f4",""]}',
        b'{"$f4":{}}',
        b'{"$i1":999}',
        b'{"$i":"zz"}',
        b'{"$b":"?"}',
        b'{"$s":"/w=="}',
        b'{"$dt":["datetime","x"]}',
        b'{"$dt":["Decimal","x"]}',
        b'{"$dt":["system","x"]}',
        b'{"$d":[[[],1]]}',
        b'{"$ndo":[[2],[1]]}',
        b'{"$as":[]}',
        b'{"$ma":[]}',
        b'{"$ma":[1,null,2]}',
        b'{"$ma":[{"$nd":["|u1",[2],"AQI="]},null,5]}',
        b'{"$ma":[{"$nd":["|u1",[2],"AQI="]},{"$nd":["|b1",[1],"AQ=="]},{"$nd":["|u1",[],"AQ=="]}]}',
        b'{"$ma":[{"$nd":["|u1",[2],"AQI="]},{"$nd":["|u1",[2],"AQE="]},{"$nd":["|u1",[],"AQ=="]}]}',
        b'{"$ma":[{"$nd":["|u1",[2],"AQI="]},null,{"$nd":["<U1",[],"YQAAAA=="]}]}',
        b"[" * 2_000,
        b'{"$t":[' * 500 + b"]}" * 500,
    ],
)
def test_damaged_bytes_are_a_value_codec_error(raw: bytes) -> None:
    with pytest.raises(ValueCodecError):
        decode(raw)


@settings(max_examples=50, deadline=None)
@given(values, st.data())
def test_cut_bytes_never_crash(value: Any, data: st.DataObject) -> None:
    raw = encode(value)
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    try:
        decode(cut)
    except ValueCodecError:
        return
    assert cut.strip(b"-0123456789.eE") == b""
