"""Ids sort by time, are UUIDs of version 8, and tell an episode's stream."""

import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tupli_schemas.errors import InvalidId
from tupli_schemas.ids import (
    MAX_ORDINAL,
    check_id,
    episode_id,
    id_text,
    make_id,
    ordinal_of,
    parse_id,
    stream_of,
)

moments = st.integers(0, 2**48 - 1)
bits = st.integers(0, 2**42 - 1)


@settings(max_examples=50)
@given(moments, bits, st.integers(1, MAX_ORDINAL))
def test_an_episode_knows_its_stream(now: int, random: int, ordinal: int) -> None:
    stream = make_id(now, random)
    episode = episode_id(stream, ordinal)
    assert stream_of(episode) == stream
    assert (ordinal_of(stream), ordinal_of(episode)) == (0, ordinal)
    assert int.from_bytes(episode[:6], "big") == now
    parsed = uuid.UUID(bytes=episode)
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)
    assert parse_id(id_text(episode)) == episode


@settings(max_examples=50)
@given(moments, moments, bits, bits)
def test_ids_sort_by_time_then_by_ordinal(one: int, other: int, a: int, b: int) -> None:
    assert one == other or (make_id(one, a) < make_id(other, b)) == (one < other)
    stream = make_id(one, a)
    assert stream < episode_id(stream, 1) < episode_id(stream, 256) < episode_id(stream, MAX_ORDINAL)


def test_all_random_bits_are_in_the_id() -> None:
    assert len({make_id(0, 1 << i) for i in range(42)}) == 42
    assert make_id(0, 1 << 42) == make_id(0, 0)


@pytest.mark.parametrize("ordinal", [0, -1, MAX_ORDINAL + 1])
def test_ordinals_have_bounds(ordinal: int) -> None:
    with pytest.raises(InvalidId):
        episode_id(make_id(0, 0), ordinal)


@pytest.mark.parametrize("now", [-1, 2**48])
def test_moments_have_bounds(now: int) -> None:
    with pytest.raises(InvalidId):
        make_id(now, 0)


@pytest.mark.parametrize("raw", [b"", b"x" * 15, b"x" * 17])
def test_an_id_has_16_bytes(raw: bytes) -> None:
    with pytest.raises(InvalidId):
        check_id(raw)


@pytest.mark.parametrize("text", ["", "x", "0" * 31, None, 5, b"x" * 16, ["a"], {}])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidId):
        parse_id(text)
