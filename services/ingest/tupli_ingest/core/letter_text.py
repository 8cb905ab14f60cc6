"""A dead letter's record for people: what it says it is, its members, and a few bytes where nothing else is known."""

import struct
from typing import Any, Final

import orjson

from tupli_ingest.core.decoding import decode_record
from tupli_schemas.direct import NOT_JUDGED, Sealed
from tupli_schemas.errors import EventError
from tupli_schemas.events import CATALOG_TOPIC, DIRECT_TOPIC
from tupli_schemas.ids import id_text
from tupli_schemas.records import Record

PREVIEW_BYTES: Final = 256
MEMBER_BYTES: Final = 4_096
"""A member of more JSON than this is told by its size."""
_LENGTH: Final = struct.Struct("<I")


def describe(topic: str, record: Record) -> dict[str, Any]:
    """Envelope, event name, version and members, as far as they can be read; never raises for what it holds.

    `error` is what is wrong with the record by itself, or empty; `hex` is there when its members cannot be read.
    """
    out: dict[str, Any] = {"size": len(record.payload)}
    payload = record.payload
    if topic == DIRECT_TOPIC:
        try:
            payload = Sealed.from_bytes(payload).event
        except EventError as error:
            return out | {"hex": payload[:PREVIEW_BYTES].hex(), "error": error.reason}
    if not record.error:
        out["envelope"] = record.envelope.to_json() | {"subject": id_text(record.envelope.subject)}
    members = _members(topic, payload)
    if members is None:
        out["hex"] = payload[:PREVIEW_BYTES].hex()
    else:
        out |= {"event": members.pop("event", record.envelope.event)}
        out |= {"version": members.pop("version", record.envelope.version)}
        out["members"] = {name: _short(value) for name, value in members.items()}
    if topic in (CATALOG_TOPIC, DIRECT_TOPIC):
        out["error"] = "" if record.error == NOT_JUDGED else record.error
    else:
        out["error"] = decode_record(record).error
    return out


def _members(topic: str, payload: bytes) -> dict[str, Any] | None:
    """The JSON object at the head of a payload; a command is nothing else."""
    head = payload
    if topic != CATALOG_TOPIC:
        if len(payload) < _LENGTH.size:
            return None
        (size,) = _LENGTH.unpack_from(payload)
        head = payload[_LENGTH.size : _LENGTH.size + size]
    try:
        members = orjson.loads(head)
    except orjson.JSONDecodeError:
        return None
    return members if isinstance(members, dict) else None


def _short(value: Any) -> Any:
    size = len(orjson.dumps(value))
    return value if size <= MEMBER_BYTES else f"({size} bytes of JSON)"
