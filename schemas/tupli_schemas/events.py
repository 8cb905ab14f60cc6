"""Events of a recording stream (topic `tupli.episodes.v1`, key = stream id) and their codec.

Every item of a stream (start, row, end, amendment) takes the next number of one 64-bit counter, from 1;
an event carries the numbers `[first, last]` that it covers. How rows are cut into events may differ on
every attempt, the numbers never do.

Every event says which benchmark it is for: a start whole, the others by `benchmark_id` (empty in those of older
writers). A server that does not know it must not take the rest of an episode whose start another server has.

An event's bytes are `head length u32 | head JSON | body`; only `StepsRecorded` has a body, an Arrow stream of
one record batch. Evolution: a field may be added with a default; anything else is a new version.
"""

import struct
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, ClassVar, Final

import orjson
import pyarrow as pa

from tupli_schemas.arrow_body import END_OF_STREAM, read_one_batch, require_bits
from tupli_schemas.errors import ContractError, EventError
from tupli_schemas.ids import id_text, ordinal_of, parse_id
from tupli_schemas.steps import Layout, StepSchema

EPISODES_TOPIC: Final = "tupli.episodes.v1"
DIRECT_TOPIC: Final = "tupli.direct.v1"
"""Sealed events of producers inside the cluster, which no gateway has seen; `direct` says how they travel."""
STREAM_TOPICS: Final = (EPISODES_TOPIC, DIRECT_TOPIC)
CATALOG_TOPIC: Final = "tupli.catalog.v1"
DEAD_LETTERS_TOPIC: Final = "tupli.dead-letters.v1"

MAX_RECORD_BYTES: Final = 512 * 1024
"""Where recorders cut records of steps."""
MAX_EVENT_BYTES: Final = 12 * 1024 * 1024
"""What a gateway accepts: a single step of 8 MiB with its infos and head."""

MAX_KNOWN_BYTES: Final = 16 * 1024
"""Step schemas of longer JSON are not remembered: what a stranger sends must not fill the memory."""
_HEAD = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class BenchmarkRef:
    """The benchmark an episode belongs to, and what it may have to be created from."""

    id: bytes
    name: str = ""
    descriptor: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The reference as JSON."""
        return {"id": id_text(self.id), "name": self.name, "descriptor": self.descriptor}

    @staticmethod
    def from_json(data: dict[str, Any]) -> "BenchmarkRef":
        """The reference of its JSON."""
        name, descriptor = data.get("name", ""), data.get("descriptor")
        if not isinstance(name, str) or not isinstance(descriptor, dict | None):
            raise TypeError("a name is a text and a descriptor an object")
        return BenchmarkRef(_known_id(data["id"]), name, descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeStarted:
    """An episode began with a reset.

    `options`, `reset_info` and `metadata` are values in the tagged JSON of `values`; times are Unix
    nanoseconds.
    """

    NAME: ClassVar = "EpisodeStarted"
    VERSION: ClassVar = 1

    stream: bytes
    first: int
    episode: int
    benchmark: BenchmarkRef
    step_schema: StepSchema
    started_at: int
    slot: int = 0
    seed: Any = None
    options: Any = None
    reset_info: Any = None
    run: str = ""
    policy: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    metadata: Any = field(default_factory=dict)
    publish_in: tuple[str, ...] = ()

    @property
    def last(self) -> int:
        """The number of this event in its stream."""
        return self.first


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsRecorded:
    """Rows of one episode, or of many that the stream has open, in the order of their numbers.

    `body` is an uncompressed Arrow stream of one record batch of `layout`'s schema. A row with `is_final`
    holds only the observation that an episode ended on.
    """

    NAME: ClassVar = "StepsRecorded"
    VERSION: ClassVar = 1

    stream: bytes
    first: int
    last: int
    layout: str
    body: bytes = b""
    benchmark_id: bytes = b""

    def rows(self) -> pa.RecordBatch:
        """The rows, validated: the schema equals the layout's, the batch is whole, nothing is compressed.

        Raises:
            EventError: The body is not what the head says.
        """
        return decode_rows(self.body, Layout.parse(self.layout))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeEnded:
    """An episode ended: by its environment, or aborted (`reason` says why).

    `n_steps` counts transitions; `return_` is the recorder's float64 sum in step order; `has_final` says
    whether a row with the final observation exists.
    """

    NAME: ClassVar = "EpisodeEnded"
    VERSION: ClassVar = 1

    stream: bytes
    first: int
    episode: int
    n_steps: int
    ended_at: int
    terminated: bool = False
    truncated: bool = False
    aborted: bool = False
    reason: str = ""
    return_: float | None = 0.0
    has_final: bool = True
    metadata: Any = None
    digest: str = ""
    discarded: bool = False
    benchmark_id: bytes = b""

    @property
    def last(self) -> int:
        """The number of this event in its stream."""
        return self.first


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeAmended:
    """Metadata given after the end (members are merged over the earlier ones), or the wish to discard."""

    NAME: ClassVar = "EpisodeAmended"
    VERSION: ClassVar = 1

    stream: bytes
    first: int
    episode: int
    metadata: Any = None
    discarded: bool = False
    benchmark_id: bytes = b""

    @property
    def last(self) -> int:
        """The number of this event in its stream."""
        return self.first


Event = EpisodeStarted | StepsRecorded | EpisodeEnded | EpisodeAmended
EVENT_TYPES: Final[dict[str, type[Event]]] = {
    kind.NAME: kind for kind in (EpisodeStarted, StepsRecorded, EpisodeEnded, EpisodeAmended)
}
_MEMBERS: Final = {name: tuple(item.name for item in fields(kind)) for name, kind in EVENT_TYPES.items()}


def encode_event(event: Event) -> bytes:
    """The event's bytes."""
    return b"".join(event_parts(event))


def event_parts(event: Event) -> tuple[bytes, bytes]:
    """The event's bytes in two parts, so that a body is not copied: the head with its length; the body."""
    head: dict[str, Any] = {"event": event.NAME, "version": event.VERSION}
    for name in _MEMBERS[event.NAME]:
        value = getattr(event, name)
        if name != "body" and not (name == "benchmark_id" and not value):
            head[name] = _to_json(value)
    raw = orjson.dumps(head, option=orjson.OPT_SORT_KEYS)
    return _HEAD.pack(len(raw)) + raw, event.body if isinstance(event, StepsRecorded) else b""


def decode_event(data: bytes, *, place: str = "") -> Event:
    """The event of its bytes. Unknown members are ignored: they are from a newer writer.

    Raises:
        EventError: The bytes are no event, or of a version that is not known here.
    """
    head, body = _split(data, place)
    name, version = head.get("event"), head.get("version")
    kind = EVENT_TYPES.get(name) if isinstance(name, str) else None
    if kind is None or version != kind.VERSION:
        raise EventError(f"unknown event {name!r} version {version!r}", place=place)
    if body and kind is not StepsRecorded:
        raise EventError(f"{name} has no body", place=place)
    values: dict[str, Any] = {}
    for member in _MEMBERS[kind.NAME]:
        if member == "body":
            values["body"] = body
        elif member in head:
            value = head[member]
            values[member] = value if _is_plain(member, value) else _read(member, value, place)
    try:
        event = kind(**values)
    except TypeError as error:
        missing = [f.name for f in fields(kind) if f.name not in values]
        raise EventError(f"{name} lacks one of {missing}", place=place) from error
    _check(event, place)
    return event


def decode_rows(body: bytes, layout: Layout, *, place: str = "rows") -> pa.RecordBatch:
    """The one record batch of a body, fully validated: `arrow_body` says how.

    Raises:
        EventError: The Arrow bytes are cut, compressed, of another schema, or do not hold together.
    """
    batch = read_one_batch(body, layout.arrow_schema, place=place, schema_message=layout.schema_message)
    bits = [name for name, cell in layout.columns if cell.code == "b1" and not cell.is_opaque]
    require_bits(batch, bits, place=place)
    return batch


def encode_rows(batch: pa.RecordBatch) -> bytes:
    """The body of a record batch of steps: an Arrow stream."""
    # The schema's message is made anew: to look it up by its schema takes three times as long.
    return b"".join((batch.schema.serialize(), batch.serialize(), END_OF_STREAM))


def _split(data: bytes, place: str) -> tuple[dict[str, Any], bytes]:
    if len(data) < _HEAD.size:
        raise EventError("too short for an event", place=place)
    (size,) = _HEAD.unpack_from(data)
    raw = data[_HEAD.size : _HEAD.size + size]
    if len(raw) != size:
        raise EventError("the head is cut", place=place)
    try:
        head = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise EventError("the head is not JSON", place=place) from error
    if not isinstance(head, dict):
        raise EventError("the head is not an object", place=place)
    return head, data[_HEAD.size + size :]


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return id_text(value)
    if isinstance(value, StepSchema):
        return orjson.Fragment(value.json)
    if isinstance(value, BenchmarkRef):
        return value.to_json()
    return value


@lru_cache(maxsize=64)
def _known_schema(text: bytes) -> StepSchema:
    """The step schema of its JSON, remembered: all episodes of a stream name the same."""
    return StepSchema.from_json(orjson.loads(text))


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise EventError(f"{value!r} is not a list of texts")
    return tuple(value)


_INTEGERS: Final = {"first", "last", "episode", "n_steps", "slot", "started_at", "ended_at"}
_BOOLEANS: Final = {"terminated", "truncated", "aborted", "has_final", "discarded"}
_TEXTS: Final = {"run", "reason", "digest", "layout"}
_OBJECTS: Final = {"environment", "versions"}
_PLAIN: Final[dict[str, type]] = (
    dict.fromkeys(_BOOLEANS, bool) | dict.fromkeys(_TEXTS, str) | dict.fromkeys(_OBJECTS, dict)
)
"""Members of one type."""
_known_id = lru_cache(maxsize=4_096)(parse_id)
"""The id of its text, remembered: all events of a stream name the same two."""


def _is_plain(name: str, value: Any) -> bool:
    """Whether a member is what it should be; `_read` says what is wrong, and reads all others."""
    if name in _INTEGERS:
        return type(value) is int and 0 <= value < 2**63
    return type(value) is _PLAIN.get(name)


def _read(name: str, value: Any, place: str) -> Any:
    where = f"{place}.{name}" if place else name
    try:
        if name in ("stream", "benchmark_id"):
            return _known_id(value)
        if name == "benchmark":
            return BenchmarkRef.from_json(value)
        if name == "step_schema":
            text = orjson.dumps(value)
            return _known_schema(text) if len(text) <= MAX_KNOWN_BYTES else StepSchema.from_json(value)
        if name == "publish_in":
            return _texts(value)
    except (ContractError, KeyError, TypeError, AttributeError) as error:
        raise EventError(f"is not valid ({error})", place=where) from error
    if name in _INTEGERS:
        raise EventError(f"{value!r} is not a whole number in 0..2^63-1", place=where)
    if name == "policy" and not isinstance(value, str | None):
        raise EventError(f"{value!r} is not a text", place=where)
    wanted = _PLAIN.get(name, object)
    if not isinstance(value, wanted):
        raise EventError(f"{value!r} is not of type {wanted.__name__}", place=where)
    if name == "return_" and not (value is None or type(value) in (int, float)):
        raise EventError(f"{value!r} is not a number", place=where)
    return value


def _check(event: Event, place: str) -> None:
    """What holds inside one event, whatever came before it."""
    if ordinal_of(event.stream):
        raise EventError("is an episode's id, not a stream's", place=f"{place}.stream")
    if event.first < 1 or event.last < event.first:
        raise EventError(f"covers the numbers {event.first}..{event.last}", place=place)
    if not isinstance(event, StepsRecorded) and not 1 <= event.episode < 2**32:
        raise EventError(f"episode {event.episode} is not in 1..2^32-1", place=place)
    if isinstance(event, EpisodeEnded) and not (event.aborted or event.terminated or event.truncated):
        raise EventError("ended neither by terminated, truncated nor aborted", place=place)
