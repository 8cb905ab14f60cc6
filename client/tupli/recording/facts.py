"""What is told of an episode as a whole (seed, options, reset info, metadata), cut to what an event can hold.

A server refuses a larger event for good. Without its start an episode is invisible, without its end it stays
open; so the largest facts are left out, and the steps are kept.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from tupli.recording.config import RecordingConfig
from tupli.spool import control
from tupli_schemas.events import MAX_EVENT_BYTES
from tupli_schemas.steps import MAX_CELL_BYTES, StepSchema
from tupli_schemas.values import encode

MAX_FACTS_BYTES: Final = MAX_EVENT_BYTES - (1 << 20)
"""Of one event, as JSON; the rest is for its other members."""
_SURELY_FITS: Final = 1 << 20

Warn = Callable[..., None]
"""Tells a message, `once` for each key."""


def start_payload(
    config: RecordingConfig,
    schema: StepSchema | None,
    *,
    seed: Any,
    options: Any,
    reset_info: bytes,
    warn: Warn,
) -> bytes:
    """The payload of a start; `reset_info` is already tagged."""
    if len(reset_info) > MAX_CELL_BYTES:
        _tell(warn, "reset info", len(reset_info), MAX_CELL_BYTES)
        reset_info = b""
    parts = {"seed": seed, "options": options}
    metadata = dict(config.metadata)
    payload = _with_info(control.payload_of(**parts, metadata=metadata or None), reset_info)
    if len(payload) <= _SURELY_FITS:
        return payload
    room = MAX_FACTS_BYTES - _described_bytes(config, schema)
    if len(payload) <= room:
        return payload
    sizes = {("reset info", ""): len(reset_info)} | _sizes(parts, metadata)
    gone = _largest(sizes, len(payload) - room, room, warn)
    kept = {name: value for name, value in parts.items() if (name, "") not in gone}
    return _with_info(
        control.payload_of(**kept, metadata=_without(metadata, gone) or None),
        b"" if ("reset info", "") in gone else reset_info,
    )


def metadata_payload(metadata: Mapping[str, Any], warn: Warn, **others: Any) -> bytes:
    """The payload of an end or an amendment; without metadata it has no such member."""
    payload = control.payload_of(**others, metadata=metadata or None)
    if len(payload) <= MAX_FACTS_BYTES:
        return payload
    gone = _largest(_sizes({}, metadata), len(payload) - MAX_FACTS_BYTES, MAX_FACTS_BYTES, warn)
    return control.payload_of(**others, metadata=_without(metadata, gone) or None)


def _with_info(payload: bytes, reset_info: bytes) -> bytes:
    if not reset_info:
        return payload
    return payload[:-1] + (b"," if len(payload) > 2 else b"") + b'"reset_info":' + reset_info + b"}"


def _described_bytes(config: RecordingConfig, schema: StepSchema | None) -> int:
    """What the other members of a start take that may be long."""
    benchmark = config.benchmark.descriptor if config.benchmark is not None else None
    described = orjson.dumps([benchmark, config.environment, config.versions, config.publish_in])
    return len(described) + len(schema.json if schema is not None else b"")


def _sizes(parts: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """Bytes of each fact: of metadata each by itself."""
    sizes = {(name, ""): len(encode(value)) for name, value in parts.items()}
    return sizes | {("metadata", name): len(encode({name: value})) for name, value in metadata.items()}


def _largest(sizes: dict[tuple[str, str], int], excess: int, room: int, warn: Warn) -> set[tuple[str, str]]:
    """The facts to leave out, the largest first, until so many bytes less are left; each is told."""
    gone = set()
    for fact in sorted(sizes, key=lambda fact: sizes[fact], reverse=True):
        if excess <= 0:
            break
        gone.add(fact)
        excess -= sizes[fact]
        what, name = fact
        _tell(warn, f"{what} {name!r}" if name else what, sizes[fact], room)
    return gone


def _without(metadata: Mapping[str, Any], gone: set[tuple[str, str]]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if ("metadata", name) not in gone}


def _tell(warn: Warn, what: str, size: int, room: int) -> None:
    told = f"not kept: {what} of {size} bytes, an event has room for {room}; the episode is kept without"
    warn(told, once=f"too large {what}")
