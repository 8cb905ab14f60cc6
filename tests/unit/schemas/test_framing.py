"""Frames come out as they went in, however they are cut; bodies that are damaged or lie are refused."""

import struct
from itertools import pairwise

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from tupli_schemas.errors import FrameError
from tupli_schemas.framing import (
    FLAG_ZSTD,
    HEADER,
    MAGIC,
    MAX_FRAME_BYTES,
    FrameReader,
    Kind,
    PartJoiner,
    decode_frames,
    encode_frame,
    message_parts,
)

frames = st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=200), st.booleans()), max_size=5)


@settings(max_examples=50)
@given(frames, st.lists(st.integers(0, 1200), max_size=8))
def test_frames_come_out_as_they_went_in_whatever_the_chunks(
    items: list[tuple[Kind, bytes, bool]], cuts: list[int]
) -> None:
    body = b"".join(encode_frame(kind, payload, compress=compress) for kind, payload, compress in items)
    reader = FrameReader()
    found = []
    for a, b in pairwise([0, *sorted(cuts), len(body) + 1200]):
        found += reader.feed(body[a:b])
    reader.finish()
    assert [(frame.kind, frame.payload) for frame in found] == [(kind, payload) for kind, payload, _ in items]


def test_a_body_that_is_cut_anywhere_is_refused_and_says_where() -> None:
    whole = [encode_frame(Kind.EVENT, b"abc"), encode_frame(Kind.CLOSE, b"x" * 500, compress=True)]
    body = b"".join(whole)
    for cut in range(1, len(body)):
        if cut == len(whole[0]):
            continue
        with pytest.raises(FrameError) as raised:
            decode_frames(body[:cut])
        assert raised.value.place == f"frame {int(cut > len(whole[0]))}"


def test_a_bit_that_flipped_anywhere_is_found() -> None:
    body = encode_frame(Kind.EVENT, b"the payload")
    for i in range(len(body)):
        for bit in (1, 0x80):
            if i == 2 and body[2] ^ bit in list(Kind):
                continue  # the kind is not under the checksum; another known kind is the reader's to judge
            damaged = bytearray(body)
            damaged[i] ^= bit
            with pytest.raises(FrameError):
                decode_frames(bytes(damaged))


def framed(kind: int, flags: int, raw: int, stored: bytes, *, size: int | None = None) -> bytes:
    size = len(stored) if size is None else size
    return HEADER.pack(MAGIC, kind, flags, raw, size, xxhash.xxh3_64_intdigest(stored)) + stored


@pytest.mark.parametrize(
    "body",
    [
        framed(1, 0, 5, b"abc"),
        framed(1, 2, 3, b"abc"),
        framed(9, 0, 3, b"abc"),
        framed(0, 0, 3, b"abc"),
        framed(1, 0, 2**32 - 1, b"", size=2**32 - 1),
        framed(1, FLAG_ZSTD, 2**32 - 1, b"abc"),
        framed(1, FLAG_ZSTD, 3, b"not zstd"),
        framed(1, FLAG_ZSTD, 3, b""),
        b"XX" + framed(1, 0, 3, b"abc")[2:],
        b"{}" * 20,
    ],
)
def test_headers_that_lie_are_refused(body: bytes) -> None:
    with pytest.raises(FrameError):
        decode_frames(body)


@pytest.mark.parametrize("declared", [0, 1, 999, 1001, 2000])
def test_a_compressed_frame_must_have_the_size_it_declares(declared: int) -> None:
    packed = pa.Codec("zstd").compress(b"x" * 1000, asbytes=True)
    assert decode_frames(framed(1, FLAG_ZSTD, 1000, packed))[0].payload == b"x" * 1000
    with pytest.raises(FrameError):
        decode_frames(framed(1, FLAG_ZSTD, declared, packed))


def test_a_small_body_cannot_become_a_large_one() -> None:
    """100 MB in 10 kB: refused by what it declares, and by what it would become when it declares less."""
    packed = pa.Codec("zstd").compress(bytes(100_000_000), asbytes=True)
    assert len(packed) < 20_000
    before = pa.total_allocated_bytes()
    for declared in (100_000_000, 1_000):
        with pytest.raises(FrameError):
            decode_frames(framed(1, FLAG_ZSTD, declared, packed))
    assert pa.total_allocated_bytes() - before < 1_000_000


def test_limits_are_the_callers() -> None:
    body = encode_frame(Kind.EVENT, b"x" * 100)
    assert decode_frames(body, max_frame_bytes=100)
    with pytest.raises(FrameError):
        decode_frames(body, max_frame_bytes=99)
    with pytest.raises(FrameError):
        FrameReader(max_frame_bytes=99).feed(body[: HEADER.size])


def test_a_payload_that_is_too_large_is_not_framed() -> None:
    with pytest.raises(FrameError):
        encode_frame(Kind.EVENT, bytes(16 * 1024 * 1024 + 1))


def test_the_header_has_20_bytes() -> None:
    assert HEADER.size == 20
    assert struct.calcsize("<2sBBIIQ") == 20


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        (0, 0),
        (5, 0),
        (MAX_FRAME_BYTES, 0),
        (MAX_FRAME_BYTES + 1, 1),
        (2 * MAX_FRAME_BYTES, 1),
        (2 * MAX_FRAME_BYTES + 7, 2),
    ],
)
def test_a_message_of_any_size_comes_in_parts_and_is_put_together(size: int, parts: int) -> None:
    payload = bytes(range(251)) * (size // 251) + b"x" * (size % 251)
    small = encode_frame(Kind.QUERY_HEADER, b"small")
    body = b"".join([small, *message_parts(Kind.QUERY_HEADER, payload), small])
    frames = decode_frames(body)
    assert [frame.kind for frame in frames[1:-1]] == [Kind.PART] * parts + [Kind.QUERY_HEADER]
    joiner = PartJoiner()
    assert [joiner.payload(frame) for frame in frames] == [b"small", *[None] * parts, payload, b"small"]
