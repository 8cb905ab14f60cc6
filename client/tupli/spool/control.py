"""Control records of a segment: starts, ends and amendments, in their order among the rows.

A record stands before the row `row`. An end has room for what the background thread finds out (steps, return,
digest), which it writes before it sends them, so that a repetition after a crash says the same.
"""

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tupli_schemas.values import to_tagged

HEAD: Final = struct.Struct("=IBBHIIIIq")
"""size, kind, flags, -, slot, episode, row, payload size, time (Unix nanoseconds)"""
SEAL: Final = struct.Struct("=BxxxxxxxQd16s")
"""sealed, steps, return, digest; only of ends, between head and payload"""


class Kind(enum.IntEnum):
    """What a control record says."""

    START = 1
    END = 2
    AMEND = 3


ABORTED: Final = 4
NO_FINAL: Final = 8
DISCARDED: Final = 16
"""Flags beside `layout.TERMINATED` and `layout.TRUNCATED`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One decoded record; `at` is its offset in the control bytes, `seal` the offset of an end's seal."""

    at: int
    size: int
    kind: Kind
    flags: int
    slot: int
    episode: int
    row: int
    time: int
    payload: dict[str, Any]
    seal: int = 0


def encode(kind: Kind, *, slot: int, episode: int, row: int, time: int, flags: int, payload: bytes) -> bytes:
    """The bytes of a record, padded to eight."""
    seal = bytes(SEAL.size) if kind is Kind.END else b""
    size = -(-(HEAD.size + len(seal) + len(payload)) // 8) * 8
    head = HEAD.pack(size, kind, flags, 0, slot, episode, row, len(payload), time)
    return (head + seal + payload).ljust(size, b"\0")


def payload_of(**members: Any) -> bytes:
    """The JSON of a payload; members that are None or empty are left out."""
    kept = {name: to_tagged(value) for name, value in members.items() if value is not None and value != ""}
    return orjson.dumps(kept) if kept else b"{}"


def decode(control: memoryview, start: int, end: int) -> Iterator[Control]:
    """The records between two offsets."""
    at = start
    while at < end:
        size, kind, flags, _, slot, episode, row, payload_size, time = HEAD.unpack_from(control, at)
        body = at + HEAD.size + (SEAL.size if kind == Kind.END else 0)
        yield Control(
            at=at,
            size=size,
            kind=Kind(kind),
            flags=flags,
            slot=slot,
            episode=episode,
            row=row,
            time=time,
            payload=orjson.loads(control[body : body + payload_size]),
            seal=at + HEAD.size if kind == Kind.END else 0,
        )
        at += size


@dataclass(frozen=True, slots=True)
class Seal:
    """What an end says that only the background thread knows."""

    n_steps: int
    return_: float
    digest: str


def read_seal(control: memoryview, at: int) -> Seal | None:
    """The seal of an end, when it has been written."""
    sealed, n_steps, return_, digest = SEAL.unpack_from(control, at)
    if not sealed:
        return None
    return Seal(n_steps, return_, digest.hex() if sealed == 1 else "")


def write_seal(control: memoryview, at: int, seal: Seal) -> None:
    """Write the seal; its mark goes last."""
    digest = bytes.fromhex(seal.digest) if seal.digest else bytes(16)
    packed = SEAL.pack(0, seal.n_steps, seal.return_, digest)
    control[at : at + SEAL.size] = packed
    control[at] = 1 if seal.digest else 2
