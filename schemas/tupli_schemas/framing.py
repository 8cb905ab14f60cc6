"""Frames: how events, log records and dataset answers travel.

A body is a run of frames. A frame is a header of 20 bytes and its payload, both little-endian:

    magic "TF" | kind u8 | flags u8 | raw size u32 | stored size u32 | XXH3-64 of the stored payload

Flag 1 says that the stored payload is zstd. The raw size is declared and capped before anything is
decompressed, so a body that lies about its size costs no memory. Nothing inside is compressed again.
"""

import enum
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xxhash

from tupli_schemas.errors import FrameError

MAGIC = b"TF"
HEADER = struct.Struct("<2sBBIIQ")
_CHECKSUM = struct.Struct("<Q")
FLAG_ZSTD = 1
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""A single step may have 8 MiB; with its next observation and a head it stays below this."""


class Kind(enum.IntEnum):
    """What a frame carries."""

    EVENT = 1
    QUERY_HEADER = 2
    ARROW = 3
    CLOSE = 4
    PROBLEM = 5
    PART = 6
    """A piece of a payload that is larger than a frame: it begins the payload of the next frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame; `payload` is what was framed, decompressed; `checksum` is that of its header."""

    kind: Kind
    payload: bytes
    checksum: int = 0


def encode_frame(kind: Kind, payload: bytes | memoryview, *, compress: bool = False) -> bytes:
    """The frame of `payload`, which may have up to `MAX_FRAME_BYTES`.

    Raises:
        FrameError: The payload is larger.
    """
    if compress and 0 < len(payload) <= MAX_FRAME_BYTES:
        packed: bytes = pa.Codec("zstd").compress(payload, asbytes=True)
        if len(packed) < len(payload):
            return _header(kind, FLAG_ZSTD, len(payload), (packed,)) + packed
    return b"".join(frame_parts(kind, payload))


def frame_parts(kind: Kind, *payload: bytes | memoryview) -> tuple[bytes, *tuple[bytes | memoryview, ...]]:
    """The frame of a payload, which may come in parts: its header and the parts, none of them copied.

    Raises:
        FrameError: The payload is larger than `MAX_FRAME_BYTES`.
    """
    size = sum(map(len, payload))
    return _header(kind, 0, size, payload), *payload


def message_parts(kind: Kind, payload: bytes) -> list[bytes | memoryview]:
    """The frames of a payload of any size, one behind the other: PART frames, then the frame with the rest.

    `PartJoiner` puts them together again.
    """
    view = memoryview(payload)
    last = max(len(payload) - 1, 0) // MAX_FRAME_BYTES * MAX_FRAME_BYTES
    out: list[bytes | memoryview] = []
    for start in range(0, last, MAX_FRAME_BYTES):
        out += frame_parts(Kind.PART, view[start : start + MAX_FRAME_BYTES])
    return out + list(frame_parts(kind, view[last:]))


def _header(kind: Kind, flags: int, raw_size: int, stored: Sequence[bytes | memoryview]) -> bytes:
    if raw_size > MAX_FRAME_BYTES:
        raise FrameError(f"a frame has at most {MAX_FRAME_BYTES} bytes, not {raw_size}")
    checksum = xxhash.xxh3_64()
    for part in stored:
        checksum.update(part)
    return HEADER.pack(MAGIC, kind, flags, raw_size, sum(map(len, stored)), checksum.intdigest())


@dataclass(frozen=True, slots=True)
class View:
    """A frame whose payload is a view of the memory that it was read into."""

    kind: Kind
    payload: memoryview
    checksum: int


@dataclass(frozen=True, slots=True)
class _Header:
    """A frame's header, checked against the limits."""

    kind: Kind
    compressed: bool
    raw_size: int
    stored_size: int
    checksum: int


def checksum_bytes(header: bytes) -> bytes:
    """The checksum in a frame's header, as it stands there.

    A body's closing frame counts these, not all bytes again.
    """
    return header[-_CHECKSUM.size :]


def packed_checksum(checksum: int) -> bytes:
    """A frame's checksum as `checksum_bytes` gives it."""
    return _CHECKSUM.pack(checksum)


class FrameReader:
    """Cuts a stream of bytes into frames, whatever the chunks are.

    Feed chunks as they come and take frames as they are complete; `finish` says whether the body
    ended between two frames. What was fed is copied once, into the frame's payload.
    """

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max = max_frame_bytes
        self._parts: deque[memoryview] = deque()
        self._size = 0
        self._header: _Header | None = None
        self._count = 0

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that `chunk` completes.

        Raises:
            FrameError: A frame is damaged, too large or lies about its size.
        """
        self._parts.append(memoryview(chunk))
        self._size += len(chunk)
        frames = []
        while self._size >= (self._header.stored_size if self._header else HEADER.size):
            if self._header is None:
                self._header = self._check(self._take(HEADER.size))
            else:
                frames.append(self._decode(self._header))
                self._header = None
                self._count += 1
        return frames

    def finish(self) -> None:
        """Say that the body is over.

        Raises:
            FrameError: It ended inside a frame.
        """
        if self._size or self._header is not None:
            inside = self._size + (HEADER.size if self._header else 0)
            raise FrameError(f"the body ends inside the frame ({inside} bytes of it)", place=self._place)

    @property
    def _place(self) -> str:
        return f"frame {self._count}"

    def _take(self, size: int) -> bytes:
        """The next `size` bytes, which are there."""
        self._size -= size
        taken: list[memoryview] = []
        while size:
            part = self._parts.popleft()
            if len(part) > size:
                self._parts.appendleft(part[size:])
                part = part[:size]
            taken.append(part)
            size -= len(part)
        return b"".join(taken)

    def _check(self, raw: bytes) -> _Header:
        magic, kind, flags, raw_size, stored_size, checksum = HEADER.unpack(raw)
        if magic != MAGIC:
            raise FrameError("not a Tupli frame (wrong magic bytes)", place=self._place)
        if kind not in Kind.__members__.values():
            raise FrameError(f"unknown kind {kind}", place=self._place)
        if flags & ~FLAG_ZSTD:
            raise FrameError(f"unknown flags {flags:#x}", place=self._place)
        if max(raw_size, stored_size) > self._max:
            raise FrameError(
                f"declares {max(raw_size, stored_size)} bytes, the limit is {self._max}", place=self._place
            )
        if not flags and raw_size != stored_size:
            raise FrameError(
                f"declares {raw_size} raw and {stored_size} stored bytes uncompressed", place=self._place
            )
        return _Header(Kind(kind), bool(flags), raw_size, stored_size, checksum)

    def _decode(self, header: _Header) -> Frame:
        stored = self._take(header.stored_size)
        self._verify(header, stored)
        if header.compressed:
            stored = _decompress(stored, header.raw_size, self._place)
        return Frame(header.kind, stored, header.checksum)

    def _verify(self, header: _Header, stored: bytes | memoryview) -> None:
        if xxhash.xxh3_64_intdigest(stored) != header.checksum:
            raise FrameError("checksum does not match", place=self._place)

    def pull(self, readinto: Callable[[memoryview], int]) -> Iterator[View]:
        """The frames of a body that is read where they are wanted, so that payloads are not copied again.

        Args:
            readinto: Fills a buffer; gives how many bytes it got, fewer only at the body's end.

        Raises:
            FrameError: A frame is damaged, too large, cut, or lies about its size.
        """
        head = memoryview(bytearray(HEADER.size))
        while got := readinto(head):
            self._require(got, HEADER.size)
            header = self._check(bytes(head))
            stored = np.empty(header.stored_size, np.uint8).data
            self._require(got + readinto(stored), HEADER.size + header.stored_size)
            self._verify(header, stored)
            if header.compressed:
                stored = memoryview(_decompress(stored, header.raw_size, self._place))
            yield View(header.kind, stored, header.checksum)
            self._count += 1

    def _require(self, got: int, size: int) -> None:
        if got != size:
            raise FrameError(f"the body ends inside the frame ({got} bytes of it)", place=self._place)


class PartJoiner:
    """Puts the payloads of `message_parts` together; frames of one part go through as they are."""

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = []

    def payload(self, frame: Frame | View) -> bytes | memoryview | None:
        """The whole payload that ends with this frame; None behind a PART, for more is to come."""
        if frame.kind is Kind.PART:
            self._parts.append(frame.payload)
            return None
        if not self._parts:
            return frame.payload
        whole = b"".join([*self._parts, frame.payload])
        self._parts = []
        return whole


def decode_frames(body: bytes, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> list[Frame]:
    """All frames of a whole body.

    Raises:
        FrameError: The body is damaged, cut or over the limit.
    """
    reader = FrameReader(max_frame_bytes=max_frame_bytes)
    frames = reader.feed(body)
    reader.finish()
    return frames


def _decompress(stored: bytes | memoryview, raw_size: int, place: str) -> bytes:
    try:
        raw = bytes(pa.Codec("zstd").decompress(stored, raw_size, asbytes=True))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FrameError(f"does not decompress to the {raw_size} bytes it declares", place=place) from error
    if len(raw) != raw_size:
        raise FrameError(f"decompresses to {len(raw)} bytes, not the {raw_size} it declares", place=place)
    return raw
