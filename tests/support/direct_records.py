"""Recorders that go straight to Kafka, for tests of those who read what they write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.jwk import ECKey

from support.ingest_streams import BENCHMARK, StreamOfItems
from tupli_ingest.adapters.grant_issuing import GrantOrder, new_key, signed_grant
from tupli_schemas.direct import (
    DIRECT_PARTITIONS,
    SIGNATURE_BYTES,
    Sealed,
    leaf_of,
    sealed_record,
    signed_message,
    tree_of,
)
from tupli_schemas.events import EpisodeStarted, Event, encode_event
from tupli_schemas.ids import LOCAL_SUBJECT, make_direct_id
from tupli_schemas.records import Position, Record

DIRECT_STREAM = make_direct_id(1_700_000_000_000, 7)
NOW_S = 1_800_000_000


@dataclass
class Signer:
    """Who holds a grant: its token, and the private half of its confirmation key."""

    token: bytes
    key: Any

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self.key.private_key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def seal(self, key: bytes, events: Sequence[bytes]) -> list[Sealed]:
        root, ways = tree_of([leaf_of(key, self.token, event) for event in events])
        signature = self.sign(signed_message(root))
        return [Sealed(self.token, signature, event, way) for event, way in zip(events, ways, strict=True)]


@dataclass
class Deployment:
    """The keys of a deployment, in a folder: `keys` is what workers read."""

    folder: Path
    kid: str = field(init=False)

    def __post_init__(self) -> None:
        self.kid = new_key(self.private, self.keys, issuer="tests")

    @property
    def private(self) -> Path:
        return self.folder / "signing.json"

    @property
    def keys(self) -> Path:
        return self.folder / "keys.json"

    def signer(self, now_s: int = NOW_S, **changes: Any) -> Signer:
        """Somebody with a grant of now, for an hour, in the benchmark of the tests."""
        order = GrantOrder(subject=LOCAL_SUBJECT, benchmark=BENCHMARK, seconds=3_600)
        key = ECKey.generate_key("P-256")
        token, _ = signed_grant(self.private, replace(order, **changes), key.as_dict(private=False), now_s)
        return Signer(token.encode(), key)


def direct_events(episodes: int = 1, n_steps: int = 10, **given: Any) -> list[Event]:
    """Events of a stream that goes straight to Kafka, all of which name their benchmark."""
    stream = StreamOfItems(given.pop("stream", DIRECT_STREAM))
    for ordinal in range(1, episodes + 1):
        stream.episode(ordinal, n_steps)
    return [named(event) for event in stream.events(**given)]


def named(event: Event, benchmark: bytes = BENCHMARK) -> Event:
    """The event for a benchmark."""
    if isinstance(event, EpisodeStarted):
        return replace(event, benchmark=replace(event.benchmark, id=benchmark))
    return replace(event, benchmark_id=benchmark)


def values_of(events: Sequence[Event], signer: Signer) -> list[bytes]:
    """The sealed records of a request's events."""
    return [one.to_bytes() for one in signer.seal(events[0].stream, [encode_event(e) for e in events])]


def read_record(
    value: bytes, *, key: bytes = DIRECT_STREAM, offset: int = 0, appended_s: float = NOW_S + 1
) -> Record:
    """A record as it comes from the log."""
    position = Position(1, DIRECT_PARTITIONS, offset)
    return sealed_record(position, key, value, int(appended_s * 1_000))


Change = Callable[[Sealed], Sealed]
CHANGES: dict[str, Change] = {
    "a byte of the event": lambda sealed: replace(sealed, event=_flipped(sealed.event)),
    "the signature": lambda sealed: replace(sealed, signature=_flipped(sealed.signature)),
    "no signature": lambda sealed: replace(sealed, signature=bytes(SIGNATURE_BYTES)),
    "the way": lambda sealed: replace(sealed, way=replace(sealed.way, hashes=_flipped(sealed.way.hashes))),
    "the sides": lambda sealed: replace(sealed, way=replace(sealed.way, sides=sealed.way.sides ^ 1)),
}
"""What breaks a sealed record of a request of several, and leaves it sealed."""


def _flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])
