"""Records that go straight to Kafka: sealed by their sender, judged by whoever reads them (topic `tupli.direct.v1`).

A sealed record's bytes are, little-endian:

    magic "TDR1" | grant length u16 | depth u8 | 0 u8 | sides u32 | grant | signature, 64 bytes | way | event

The grant is a JWT (RFC 7519) in ASCII. Its confirmation key (RFC 7800) has signed the root of a Merkle tree whose
leaves are the records of one request, each the hash of its key, the grant and the event, so that none of these can
be exchanged. The way holds the `depth` hashes, of 32 bytes, that lead from this record's leaf to the root; bit `i` of
`sides` says that the i-th stands left. So a request has one signature, however many records it is, and to verify the
second costs no more than to hash it.

The positions of these records are stored beside those of the episodes' topic. To stay apart, their partitions count
from `DIRECT_PARTITIONS` there; no topic of Kafka has so many.
"""

import base64
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tupli_schemas.errors import EventError
from tupli_schemas.events import DIRECT_TOPIC, EPISODES_TOPIC
from tupli_schemas.records import Envelope, Position, Record

DIRECT_PARTITIONS: Final = 1 << 16
GRANT_TYPE: Final = "tupli-grant+jwt"
MAX_GRANT_BYTES: Final = 4 * 1024
SIGNATURE_BYTES: Final = 64
"""ES256 as JSON Web Signatures have it (RFC 7518 section 3.4)."""
HASH_BYTES: Final = 32
MAX_DEPTH: Final = 32
CLOCK_LEEWAY_S: Final = 300
"""How much earlier than it was issued, by the brokers' clocks, a grant may be used."""
NOT_JUDGED: Final = "a sealed record that was not judged"
_MAGIC: Final = b"TDR1"
_DOMAIN: Final = b"tupli.direct.v1"
_LEAF: Final = _DOMAIN + b" record\0"
_NODE: Final = _DOMAIN + b" node\0"
_ROOT: Final = _DOMAIN + b" root\0"
_HEAD: Final = struct.Struct("<4sHBxI")
_SIZES: Final = struct.Struct("<HH")


@dataclass(frozen=True, slots=True)
class Way:
    """The way from a leaf to the root: the hashes beside it, from below, and which of them stand left."""

    sides: int = 0
    hashes: bytes = b""

    @property
    def depth(self) -> int:
        """How many hashes it has."""
        return len(self.hashes) // HASH_BYTES

    def root(self, leaf: bytes) -> bytes:
        """The root that a leaf leads to."""
        for level in range(self.depth):
            beside = self.hashes[level * HASH_BYTES : (level + 1) * HASH_BYTES]
            leaf = _node(beside, leaf) if self.sides >> level & 1 else _node(leaf, beside)
        return leaf


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed record, taken apart: the grant as it stands there, the signature, the way, the event."""

    grant: bytes
    signature: bytes
    event: bytes
    way: Way = Way()

    def to_bytes(self) -> bytes:
        """The bytes of the record.

        Raises:
            ValueError: The grant, the signature or the way have other sizes than a record can hold.
        """
        fits = 0 < len(self.grant) <= MAX_GRANT_BYTES and self.way.depth <= MAX_DEPTH
        if len(self.signature) != SIGNATURE_BYTES or not fits:
            raise ValueError(f"a grant of {len(self.grant)}, a signature of {len(self.signature)} bytes")
        head = _HEAD.pack(_MAGIC, len(self.grant), self.way.depth, self.way.sides)
        return b"".join((head, self.grant, self.signature, self.way.hashes, self.event))

    @staticmethod
    def from_bytes(value: bytes) -> "Sealed":
        """The parts of a record.

        Raises:
            EventError: It is not sealed.
        """
        if len(value) < _HEAD.size or value[:4] != _MAGIC:
            raise EventError("it has no grant")
        _, size, depth, sides = _HEAD.unpack_from(value)
        signature = _HEAD.size + size
        way = signature + SIGNATURE_BYTES
        event = way + depth * HASH_BYTES
        if not 0 < size <= MAX_GRANT_BYTES or depth > MAX_DEPTH or len(value) < event:
            raise EventError("its grant or its signature is cut")
        grant = value[_HEAD.size : signature]
        return Sealed(grant, value[signature:way], value[event:], Way(sides, value[way:event]))

    def signed_by(self, key: bytes) -> bytes:
        """What the signature must be of, for a record of this key."""
        return signed_message(self.way.root(leaf_of(key, self.grant, self.event)))


def leaf_of(key: bytes, grant: bytes, event: bytes) -> bytes:
    """The leaf of a record: SHA-256 of its key, its grant and its event."""
    digest = hashlib.sha256(_LEAF + _SIZES.pack(len(key), len(grant)) + key + grant)
    digest.update(event)
    return digest.digest()


def signed_message(root: bytes) -> bytes:
    """What is signed for a tree, behind a word that says what it is for."""
    return _ROOT + root


def tree_of(leaves: Sequence[bytes]) -> tuple[bytes, list[Way]]:
    """The root over one or more leaves, and the way of each; a node without a neighbour goes up as it is."""
    ways = [(0, b"", 0)] * len(leaves)
    level = [(leaf, [index]) for index, leaf in enumerate(leaves)]
    while len(level) > 1:
        above = []
        for left, right in zip(level[::2], level[1::2], strict=False):
            for (_, below), (beside, _), side in ((left, right, 0), (right, left, 1)):
                for index in below:
                    sides, hashes, depth = ways[index]
                    ways[index] = (sides | side << depth, hashes + beside, depth + 1)
            above.append((_node(left[0], right[0]), left[1] + right[1]))
        level = above + level[len(level) & ~1 :]
    return level[0][0], [Way(sides, hashes) for sides, hashes, _ in ways]


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def from_base64url(text: bytes) -> bytes:
    """The bytes of base64url without padding (RFC 7515 section 2).

    Raises:
        ValueError: It is none.
    """
    return base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)


def stored_partition(topic: str, partition: int) -> int:
    """The number by which a partition of a topic is stored."""
    return partition + DIRECT_PARTITIONS if topic == DIRECT_TOPIC else partition


def is_direct_partition(stored: int) -> bool:
    """Whether a partition, as it is stored, is one of the topic of sealed records."""
    return stored >= DIRECT_PARTITIONS


def place_of(stored: int) -> tuple[str, int]:
    """The topic and the partition in it of a partition as it is stored; for records of streams."""
    if is_direct_partition(stored):
        return DIRECT_TOPIC, stored - DIRECT_PARTITIONS
    return EPISODES_TOPIC, stored


def sealed_record(position: Position, key: bytes, value: bytes, appended_ms: int | None) -> Record:
    """A sealed record as it was read: whoever has not judged it takes it for a dead letter.

    `appended_ms` is when the brokers appended it, in Unix milliseconds, None where they do not say it.
    """
    appended = -1 if appended_ms is None else appended_ms
    envelope = Envelope(event="", version=0, subject=bytes(16), received_at=appended)
    return Record(position, key, envelope, value, NOT_JUDGED, "no_grant")
