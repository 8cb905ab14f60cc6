"""Sealed records: their bytes, the tree that a request's signature is of, and the ids that tell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tupli_schemas.direct import (
    DIRECT_PARTITIONS,
    HASH_BYTES,
    MAX_GRANT_BYTES,
    NOT_JUDGED,
    SIGNATURE_BYTES,
    Sealed,
    Way,
    leaf_of,
    place_of,
    sealed_record,
    stored_partition,
    tree_of,
)
from tupli_schemas.errors import EventError
from tupli_schemas.events import DIRECT_TOPIC, EPISODES_TOPIC
from tupli_schemas.ids import episode_id, is_direct, make_direct_id, make_id
from tupli_schemas.records import Position, RawRecord


@given(st.integers(0, 2**47), st.integers(0, 2**42 - 1))
def test_no_id_of_another_kind_is_that_of_a_direct_stream(now: int, random: int) -> None:
    other, direct = make_id(now, random), make_direct_id(now, random)
    assert not is_direct(other)
    assert is_direct(direct)
    assert is_direct(episode_id(direct, 3))
    assert not is_direct(episode_id(other, 3))
    assert other < direct < make_id(now + 1, 0)


@given(st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=70, unique=True))
def test_every_leaf_leads_to_the_root_and_no_other_does(events: list[bytes]) -> None:
    leaves = [leaf_of(b"key", b"grant", event) for event in events]
    root, ways = tree_of(leaves)
    assert [way.root(leaf) for way, leaf in zip(ways, leaves, strict=True)] == [root] * len(leaves)
    stranger = leaf_of(b"other", b"grant", events[0])
    assert root not in [way.root(stranger) for way in ways]
    assert max(way.depth for way in ways) <= max(len(events) - 1, 1).bit_length()


def test_a_leaf_depends_on_where_key_and_grant_end() -> None:
    made = {leaf_of(b"ab", b"c", b"d"), leaf_of(b"a", b"bc", b"d"), leaf_of(b"ab", b"cd", b"")}
    assert len(made) == 3


@given(st.binary(min_size=1, max_size=50), st.binary(max_size=50), st.integers(0, 5))
def test_sealed_records_come_back_as_they_were(grant: bytes, event: bytes, depth: int) -> None:
    sealed = Sealed(grant, bytes(range(SIGNATURE_BYTES)), event, Way(3, bytes(depth * HASH_BYTES)))
    assert Sealed.from_bytes(sealed.to_bytes()) == sealed


def test_what_is_not_sealed_is_told_and_never_read() -> None:
    whole = Sealed(b"grant", bytes(SIGNATURE_BYTES), b"", Way(0, bytes(HASH_BYTES))).to_bytes()
    for size in range(len(whole)):
        with pytest.raises(EventError):
            Sealed.from_bytes(whole[:size])
    assert Sealed.from_bytes(whole).event == b""
    deep = bytearray(whole)
    deep[6] = 33
    with pytest.raises(EventError, match="cut"):
        Sealed.from_bytes(bytes(deep) + bytes(40 * HASH_BYTES))
    with pytest.raises(EventError, match="no grant"):
        Sealed.from_bytes(b"{" + whole[1:])


@pytest.mark.parametrize(
    "sealed",
    [
        Sealed(b"", bytes(64), b""),
        Sealed(bytes(MAX_GRANT_BYTES + 1), bytes(64), b""),
        Sealed(b"g", b"", b""),
        Sealed(b"g", bytes(64), b"", Way(0, bytes(33 * HASH_BYTES))),
    ],
)
def test_what_no_record_can_hold_is_not_sealed(sealed: Sealed) -> None:
    with pytest.raises(ValueError, match="bytes"):
        sealed.to_bytes()


def test_partitions_of_the_two_topics_stay_apart() -> None:
    for topic in (EPISODES_TOPIC, DIRECT_TOPIC):
        for partition in (0, 7, DIRECT_PARTITIONS - 1):
            assert place_of(stored_partition(topic, partition)) == (topic, partition)


def test_what_was_not_judged_says_so() -> None:
    record = sealed_record(Position(1, DIRECT_PARTITIONS, 4), b"k", b"v", 5)
    assert record.error == NOT_JUDGED
    again = RawRecord(record.key, record.envelope, record.payload)
    assert again.to_bytes() == b"v"
