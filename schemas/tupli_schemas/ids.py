"""Ids: 16 bytes that sort by time (UUID version 8, RFC 9562 section 5.8).

    48 bits milliseconds | 4 bits version 8 | 12 bits random | 2 bits variant | 30 bits random | 32 bits
    ordinal

The ordinal is 0 for a recording stream and for everything that is not an episode; the episodes of a
stream carry the stream's other 96 bits and count from 1. So an episode's stream is known without a look-up.

A stream that goes straight to Kafka has 0xd where others have the version 8, and so have its episodes: no id was
made so before there were such streams, and it sorts by time all the same (decision 0013).
"""

import uuid
from typing import Final

from tupli_schemas.errors import InvalidId

ID_BYTES = 16
RANDOM_BITS = 42
MAX_ORDINAL = 2**32 - 1
_VERSION: Final = 0x8
_DIRECT: Final = 0xD

LOCAL_SUBJECT: Final[bytes] = uuid.UUID("00000000-0000-8000-8000-000000000001").bytes
"""Who acts before accounts exist; taken over by the first administrator."""


def make_id(now_ms: int, random_bits: int) -> bytes:
    """A stream's (or any other object's) id from Unix milliseconds and 42 random bits.

    Raises:
        InvalidId: The milliseconds do not fit.
    """
    return _made(_VERSION, now_ms, random_bits)


def make_direct_id(now_ms: int, random_bits: int) -> bytes:
    """`make_id`, of a stream whose records go straight to Kafka."""
    return _made(_DIRECT, now_ms, random_bits)


def is_direct(value: bytes) -> bool:
    """Whether this is the id of a stream that goes straight to Kafka, or of an episode of one."""
    return check_id(value)[6] >> 4 == _DIRECT


def _made(version: int, now_ms: int, random_bits: int) -> bytes:
    if not 0 <= now_ms < 2**48:
        raise InvalidId(f"milliseconds {now_ms} do not fit 48 bits")
    high, low = divmod(random_bits & ((1 << RANDOM_BITS) - 1), 1 << 30)
    value = (now_ms << 80) | (version << 76) | (high << 64) | (0b10 << 62) | (low << 32)
    return value.to_bytes(ID_BYTES, "big")


def episode_id(stream: bytes, ordinal: int) -> bytes:
    """The id of the stream's `ordinal`-th episode, counted from 1."""
    if not 1 <= ordinal <= MAX_ORDINAL:
        raise InvalidId(f"episode ordinal {ordinal} is not in 1..{MAX_ORDINAL}")
    return check_id(stream)[:12] + ordinal.to_bytes(4, "big")


def stream_of(episode: bytes) -> bytes:
    """The id of the stream that an episode was recorded in."""
    return check_id(episode)[:12] + bytes(4)


def ordinal_of(episode: bytes) -> int:
    """Which episode of its stream this is; 0 for a stream."""
    return int.from_bytes(check_id(episode)[12:], "big")


def check_id(value: bytes) -> bytes:
    """The value itself, when it is 16 bytes.

    Raises:
        InvalidId: It is not.
    """
    if len(value) != ID_BYTES:
        raise InvalidId(f"an id has 16 bytes, not {len(value)}")
    return value


def id_text(value: bytes) -> str:
    """The usual text of a UUID, as ids travel in JSON."""
    digits = check_id(value).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def parse_id(text: str) -> bytes:
    """The 16 bytes of an id's text.

    Raises:
        InvalidId: The text is no UUID.
    """
    try:
        return uuid.UUID(text).bytes
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidId(f"{text!r} is not an id") from error
