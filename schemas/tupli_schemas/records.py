"""Log records: a stamped envelope around one event or command, as the log keeps it."""

import struct
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import orjson

from tupli_schemas.errors import EventError
from tupli_schemas.ids import id_text, parse_id

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a record stands: generation of the log, partition, offset (from 0, growing, never reused)."""

    generation: int
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What the gateway stamps and a client may not claim. `received_at` is in Unix milliseconds."""

    event: str
    version: int
    subject: bytes
    received_at: int
    client: str = ""
    key_id: str = ""
    request_id: str = ""

    @property
    def received_ns(self) -> int:
        """When it was received, in Unix nanoseconds, the unit of the store's times."""
        return self.received_at * 1_000_000

    def to_json(self) -> dict[str, Any]:
        """The envelope as JSON."""
        same = {item.name: getattr(self, item.name) for item in fields(self)}
        return same | {"subject": id_text(self.subject)}

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Envelope":
        """The envelope of its JSON."""
        known = {name: data[name] for name in Envelope.__dataclass_fields__ if name in data}
        return Envelope(**known | {"subject": parse_id(data["subject"])})


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record before it has a position."""

    key: bytes
    envelope: Envelope
    payload: bytes

    def to_bytes(self) -> bytes:
        """Envelope and payload as the log stores them."""
        head = _head_of(self.envelope)
        return b"".join((_LENGTH.pack(len(head)), head, self.payload))


@dataclass(frozen=True, slots=True)
class RawRecord(NewRecord):
    """A record whose bytes are the payload alone; the envelope stays behind."""

    def to_bytes(self) -> bytes:
        """The payload."""
        return self.payload


@dataclass(frozen=True, slots=True)
class Record:
    """A record of the log.

    `error` says why it is none: then `payload` is all that stands there, and the envelope says nothing. `code` is
    that of the dead letter it becomes then.
    """

    position: Position
    key: bytes
    envelope: Envelope
    payload: bytes
    error: str = ""
    code: str = "undecodable"

    @staticmethod
    def from_bytes(position: Position, key: bytes, value: bytes) -> "Record":
        """The record of its stored bytes.

        Raises:
            EventError: They are no record.
        """
        try:
            (size,) = _LENGTH.unpack_from(value)
            envelope = _envelope_of(value[_LENGTH.size : _LENGTH.size + size])
            return Record(position, key, envelope, value[_LENGTH.size + size :])
        except (struct.error, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            why = "it is too short" if isinstance(error, struct.error) else type(error).__name__
            raise EventError(f"not a log record ({why})", place=f"offset {position.offset}") from error

    @staticmethod
    def read(position: Position, key: bytes, value: bytes) -> "Record":
        """`from_bytes`, for a log that others can write to: never raises for what stands there."""
        try:
            return Record.from_bytes(position, key, value)
        except EventError as error:
            return Record(position, key, _NO_ENVELOPE, value, error.reason)


_NO_ENVELOPE = Envelope(event="", version=0, subject=bytes(16), received_at=0)


@lru_cache(maxsize=64)
def _head_of(envelope: Envelope) -> bytes:
    """The bytes of an envelope, remembered: a request's records have one for each kind of event."""
    return orjson.dumps(envelope.to_json(), option=orjson.OPT_SORT_KEYS)


@lru_cache(maxsize=64)
def _envelope_of(head: bytes) -> Envelope:
    """The envelope of its bytes, remembered."""
    return Envelope.from_json(orjson.loads(head))
