"""Hypothesis strategies: values of any structure, infos, spaces with samples of them."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

NUMERIC_DTYPES = ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", ">f4", ">i2")
OTHER_DTYPES = ("f2", "c8", "c16", ">c8", "M8[ns]", "m8[s]")

texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
"""Lone surrogates, empty and unicode strings too."""
integers = st.one_of(
    st.integers(-5, 5), st.integers(), st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63 - 1, 2**63, 2**64])
)
floats = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf]))
keys = st.one_of(
    texts, st.sampled_from(["a", "a.b", "$nd", "$d", "$", "", "%", "a%2Eb", "TimeLimit.truncated", "_a"])
)


def arrays(
    dtypes: tuple[str, ...] = NUMERIC_DTYPES + OTHER_DTYPES,
) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """Small arrays of these dtypes, without elements or dimensions too, with any bits."""
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    return st.tuples(st.sampled_from(dtypes), shapes).flatmap(lambda of: array_of(np.dtype(of[0]), of[1]))


def array_of(dtype: np.dtype[Any], shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """Arrays of this dtype and shape with any bits (booleans: 0 and 1)."""
    size = math.prod(shape) * dtype.itemsize

    def make(raw: bytes) -> np.ndarray[Any, Any]:
        if dtype.kind == "b":
            raw = bytes(byte & 1 for byte in raw)
        return np.frombuffer(raw, dtype).reshape(shape).copy() if raw else np.empty(shape, dtype)

    return st.binary(min_size=size, max_size=size).map(make)


def numpy_scalars() -> st.SearchStrategy[np.generic]:
    """Scalars of every dtype."""
    return st.sampled_from(NUMERIC_DTYPES[:-2] + OTHER_DTYPES).flatmap(
        lambda code: array_of(np.dtype(code), (1,)).map(lambda array: array[0])
    )


plain_scalars = st.one_of(st.none(), st.booleans(), integers, floats, texts)
scalars = st.one_of(
    plain_scalars,
    numpy_scalars(),
    st.binary(max_size=6),
    st.complex_numbers(),
    st.datetimes(),
    st.timedeltas(),
    st.uuids(),
    st.decimals(allow_nan=False),
)
json_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(st.one_of(keys, st.integers(-9, 9), st.binary(max_size=2)), inner, max_size=3),
    )


values = st.recursive(st.one_of(scalars, arrays()), _containers, max_leaves=8)
"""Everything that comes back equal."""
infos = st.dictionaries(keys, values, max_size=5)


def leaf_spaces() -> st.SearchStrategy[gym.Space[Any]]:
    """Spaces without spaces inside."""
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    dtypes = st.sampled_from([np.float16, np.float32, np.float64, np.uint8, np.int16, np.int64])
    sizes = st.integers(1, 4)
    return st.one_of(
        st.builds(lambda shape, dtype: spaces.Box(0, 100, shape, dtype), shapes, dtypes),
        st.builds(lambda shape: spaces.Box(-np.inf, np.inf, shape, np.float32), shapes),
        st.builds(lambda n, start: spaces.Discrete(n, start=start), sizes, st.integers(-3, 3)),
        st.builds(spaces.MultiDiscrete, st.lists(sizes, min_size=1, max_size=3)),
        st.builds(spaces.MultiBinary, sizes),
        st.builds(lambda n: spaces.Text(n, charset="ab\N{SNOWMAN}"), sizes),
    )


def _space_containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["position", "a.b", "x[0]", "ünï", "%", "$nd"])
    return st.one_of(
        st.dictionaries(names, inner, min_size=1, max_size=3).map(spaces.Dict),
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
        st.lists(inner, min_size=1, max_size=2).map(spaces.OneOf),
        inner.map(spaces.Sequence),
        st.just(spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(3))),
    )


any_space: st.SearchStrategy[gym.Space[Any]] = st.recursive(leaf_spaces(), _space_containers, max_leaves=4)


@st.composite
def spaces_with_samples(draw: st.DrawFn, count: int = 3) -> tuple[gym.Space[Any], list[Any]]:
    """A space and `count` samples of it."""
    space = draw(any_space)
    space.seed(draw(st.integers(0, 2**31)))
    return space, [space.sample() for _ in range(count)]
