"""What the gateway refuses inside one request, before anything is written: pure, and all or nothing.

A request is whole events. What can be judged from the request alone is judged here, and the refusal names the
event and the field; what needs history is judged by the assembler. Within a request the events of a stream
must follow one another without a gap, so everything that an episode's rows and end say of each other can be
checked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson
import pyarrow as pa

from tupli_ingest.core.decoding import Checked, check_values, decode_steps
from tupli_ingest.core.errors import RequestRefused
from tupli_ingest.core.rows import Group, Rows
from tupli_schemas.errors import ContractError, EventError
from tupli_schemas.events import (
    MAX_EVENT_BYTES,
    EpisodeEnded,
    EpisodeStarted,
    Event,
    StepsRecorded,
    decode_event,
)
from tupli_schemas.framing import Frame, Kind
from tupli_schemas.ids import is_direct
from tupli_schemas.index import are_empty
from tupli_schemas.names import check_name
from tupli_schemas.problems import Problem
from tupli_schemas.records import Envelope, NewRecord

MAX_SCOPES: Final = 100
"""Where one episode is published from its start on."""
MAX_EVENTS: Final = 10_000
"""Events of one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """What the gateway stamps on the events of a request. `received_at` is in Unix milliseconds."""

    subject: bytes
    received_at: int
    client: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a valid request leads to: records with what they hold, and the last number of each stream.

    `benchmarks` are those that its events name, each with the first event that does: its index, and the place.
    """

    records: tuple[NewRecord, ...]
    checked: tuple[Checked, ...]
    streams: dict[bytes, int]
    benchmarks: dict[bytes, tuple[int, str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Episode:
    """What a request has said of an episode so far.

    `next_step` is None before its first row in the request.
    """

    started: bool = False
    layout: str = ""
    next_step: int | None = None
    final: bool = False
    ended: bool = False


@dataclass(slots=True)
class _Streams:
    """What a request has said of its streams so far."""

    last: dict[bytes, int] = field(default_factory=dict)
    episodes: dict[tuple[bytes, int], _Episode] = field(default_factory=dict)
    benchmarks: dict[bytes, tuple[int, str]] = field(default_factory=dict)

    def episode(self, stream: bytes, ordinal: int) -> _Episode:
        return self.episodes.setdefault((stream, ordinal), _Episode())


def accept_frames(frames: Sequence[Frame], sender: Sender) -> Accepted:
    """The records of a request's frames.

    Raises:
        RequestRefused: Something in them is wrong; nothing of them may be written.
    """
    if not frames:
        raise RequestRefused(Problem("invalid_request", "no events", "body"))
    if len(frames) > MAX_EVENTS:
        told = f"{len(frames)} events, the limit is {MAX_EVENTS}"
        raise RequestRefused(Problem("too_large", told, "body"))
    streams = _Streams()
    accepted = [_accept(index, frame, sender, streams) for index, frame in enumerate(frames)]
    records, checked = zip(*accepted, strict=True)
    return Accepted(records, checked, streams.last, streams.benchmarks)


def check_alone(data: bytes) -> Checked:
    """An event that came alone, checked as the only one of a request.

    Raises:
        ContractError: It breaks its contract.
    """
    if len(data) > MAX_EVENT_BYTES:
        raise EventError(f"{len(data)} bytes, the limit is {MAX_EVENT_BYTES}", place="event")
    event = decode_event(data, place="event")
    return Checked(event, _check(event, "event", _Streams()))


def _accept(index: int, frame: Frame, sender: Sender, streams: _Streams) -> tuple[NewRecord, Checked]:
    place = f"events[{index}]"
    if frame.kind != Kind.EVENT:
        raise _refused("invalid_request", f"a frame of kind {frame.kind.name}, not an event", place, index)
    if len(frame.payload) > MAX_EVENT_BYTES:
        told = f"{len(frame.payload)} bytes, the limit is {MAX_EVENT_BYTES}"
        raise _refused("too_large", told, place, index)
    try:
        event = decode_event(frame.payload, place=place)
        if is_direct(event.stream):
            told = "is the id of a stream that goes straight to Kafka, and never through a gateway"
            raise EventError(told, place=f"{place}.stream")
        rows = _check(event, place, streams)
        if isinstance(event, EpisodeStarted):
            streams.benchmarks.setdefault(event.benchmark.id, (index, f"{place}.benchmark.id"))
        elif event.benchmark_id:
            streams.benchmarks.setdefault(event.benchmark_id, (index, f"{place}.benchmark_id"))
    except ContractError as error:
        raise _refused("invalid_event", error.reason, error.place or place, index) from error
    envelope = Envelope(
        event=event.NAME,
        version=event.VERSION,
        subject=sender.subject,
        received_at=sender.received_at,
        client=sender.client,
        request_id=sender.request_id,
    )
    return NewRecord(event.stream, envelope, frame.payload), Checked(event, rows)


def _refused(code: str, detail: str, place: str, index: int) -> RequestRefused:
    return RequestRefused(Problem(code, detail, place, members={"index": index}), index)


def _check(event: Event, place: str, streams: _Streams) -> Rows | None:
    """Check an event against those before it, and give its rows if it has any."""
    rows = None
    last = streams.last.get(event.stream)
    if last is not None and event.first != last + 1:
        told = f"is {event.first}, but the event before it in this stream ends at {last}"
        raise EventError(told, place=f"{place}.first")
    if isinstance(event, StepsRecorded):
        rows = _check_steps(event, place, streams)
    else:
        check_values(event, place)
        episode = streams.episode(event.stream, event.episode)
        if isinstance(event, EpisodeStarted):
            _check_start(event, episode, place)
        elif isinstance(event, EpisodeEnded):
            _check_end(event, episode, place)
    streams.last[event.stream] = event.last
    return rows


def _check_start(event: EpisodeStarted, episode: _Episode, place: str) -> None:
    for index, scope in enumerate(event.publish_in):
        check_name(scope, f"{place}.publish_in[{index}]")
    if len(event.publish_in) > MAX_SCOPES:
        raise EventError(
            f"{len(event.publish_in)} scopes, the limit is {MAX_SCOPES}", place=f"{place}.publish_in"
        )
    if episode.started or episode.ended or episode.next_step is not None:
        raise EventError(f"episode {event.episode} had begun in this request", place=f"{place}.episode")
    episode.started, episode.layout = True, event.step_schema.layout.text
    episode.next_step = 0


def _check_end(event: EpisodeEnded, episode: _Episode, place: str) -> None:
    if episode.ended:
        raise EventError(f"episode {event.episode} ended twice", place=f"{place}.episode")
    episode.ended = True
    if episode.next_step is None:
        return
    steps = episode.next_step - episode.final
    if event.n_steps != steps:
        raise EventError(
            f"is {event.n_steps}, but the last step's count is {steps}", place=f"{place}.n_steps"
        )
    if event.has_final != episode.final:
        told = "a final row came" if episode.final else "no final row came"
        raise EventError(f"is {event.has_final}, but {told}", place=f"{place}.has_final")


def _check_steps(event: StepsRecorded, place: str, streams: _Streams) -> Rows:
    rows = _decode(event, place)
    for group in rows.groups:
        _check_group(group, rows, streams.episode(event.stream, group.ordinal), f"{place}.rows")
    _check_cells(rows, f"{place}.rows")
    return rows


def _decode(event: StepsRecorded, place: str) -> Rows:
    try:
        return decode_steps(event, place)
    except ContractError as error:
        raise EventError(error.reason, place=error.place or f"{place}.layout") from error


def _check_group(group: Group, rows: Rows, episode: _Episode, place: str) -> None:
    if episode.ended or episode.final:
        what = "its end" if episode.ended else "its final observation"
        raise EventError(f"episode {group.ordinal} has rows after {what}", place=f"{place}.episode")
    if episode.layout and episode.layout != rows.layout.text:
        told = f"episode {group.ordinal} has the layout {episode.layout[:200]!r}"
        raise EventError(told, place=place.removesuffix(".rows") + ".layout")
    if episode.next_step is not None and group.first != episode.next_step:
        told = f"episode {group.ordinal} goes on at step {group.first}, not {episode.next_step}"
        raise EventError(told, place=f"{place}.step")
    episode.layout = rows.layout.text
    episode.next_step, episode.final = group.last + 1, group.final


def _check_cells(rows: Rows, place: str) -> None:
    batch = rows.batch
    if rows.final_flag:
        told = "is set in a final row, which is no transition"
        raise EventError(told, place=f"{place}.{rows.final_flag}")
    _check_infos(batch.column("info"), f"{place}.info")
    for name, cell in rows.layout.columns:
        if cell.code == "text":
            _check_texts(batch.column(name), f"{place}.{name}")


def _check_infos(infos: pa.Array, place: str) -> None:
    """Every info is JSON in UTF-8; equal ones, which are most, are looked at once."""
    if are_empty(infos):
        return
    for info in infos.unique().to_pylist():
        if info == b"{}":
            continue
        try:
            orjson.loads(info)
        except orjson.JSONDecodeError as error:
            raise EventError(f"is not JSON ({error})", place=place) from error


def _check_texts(texts: pa.Array, place: str) -> None:
    for text in texts.unique().to_pylist():
        try:
            text.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise EventError("is not UTF-8", place=place) from error
