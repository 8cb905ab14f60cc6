"""Delivery of events in requests, and what to do with each refusal.

Retryable errors (`TransportError`, `AuthError`) leave everything where it is. Any other refusal is traced to
the bad event: by the problem's `index`, else by halving the request; a bad record of steps is halved down to
the row. What is bad in itself goes to the spool's `rejected` directory with the problem document, and the
rest goes on. Where the server does not know a stream's benchmark, all of that stream stays.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import orjson

from tupli.errors import AuthError, InvalidInput, TransportError, TupliError
from tupli.spool.directory import SpoolDirectory
from tupli.spool.reader import Outgoing
from tupli.transport.base import Transport
from tupli_schemas.errors import FrameError
from tupli_schemas.events import StepsRecorded, encode_event, encode_rows, event_parts
from tupli_schemas.framing import Kind, frame_parts
from tupli_schemas.ids import id_text

REQUEST_BYTES: Final = 4 << 20
"""About what one request holds."""
LARGE_PART: Final = 64 * 1024
"""Bytes from which a part of a request is worth a call of its own."""


class Sink(Protocol):
    """Whose events they are: told of every event, in order, once it is settled."""

    directory: SpoolDirectory

    def acknowledge(self, outgoing: Outgoing) -> None:
        """The event is durable."""

    def rejected(self, outgoing: Outgoing, error: TupliError) -> None:
        """The event will never be taken, and was put aside."""

    def benchmark_unknown(self, error: TupliError) -> None:
        """The server does not know the benchmark: what is not acknowledged stays."""


@dataclass(frozen=True, slots=True)
class Item:
    """An event on its way.

    `frame` are the parts of its frame. `is_last` says that its position counts (not for the first half of
    a record); `refused` is why it cannot even be sent.
    """

    sink: Sink
    outgoing: Outgoing
    frame: tuple[bytes | memoryview, ...]
    is_last: bool = True
    refused: TupliError | None = None

    @property
    def size(self) -> int:
        """Bytes of the frame."""
        return sum(map(len, self.frame))


def item_of(sink: Sink, outgoing: Outgoing, *, is_last: bool = True) -> Item:
    """The item of an event, framed.

    Raises:
        FrameError: It is too large for any request.
    """
    return Item(sink, outgoing, frame_parts(Kind.EVENT, *event_parts(outgoing.event)), is_last)


def framed(sink: Sink, events: Iterable[Outgoing]) -> list[Item]:
    """The items of a stream's events; one that is too large for any request is put aside."""
    items: list[Item] = []
    for outgoing in events:
        try:
            items.append(item_of(sink, outgoing))
        except FrameError as error:
            items.append(Item(sink, outgoing, (), refused=InvalidInput(str(error))))
    return items


def deliver(transport: Transport, items: list[Item]) -> int:
    """Deliver all items; returns the server's hint how many milliseconds to collect before the next request.

    Raises:
        TransportError: Try again later; items that were not settled are not acknowledged.
        AuthError: Wait for a credential.
    """
    linger = 0
    waiting = [items]
    while waiting:
        part = waiting.pop()
        refused = next((at for at, item in enumerate(part) if item.refused is not None), None)
        if refused is not None:
            waiting += _without(part, refused)
        elif part:
            try:
                result = transport.send_events(_parts(part))
            except (TransportError, AuthError):
                raise
            except TupliError as error:
                stranded = _without_benchmark(part, error)
                if stranded is None:
                    waiting += _around(part, error)
                    continue
                stranded.benchmark_unknown(error)
                waiting = [
                    [item for item in items if item.sink is not stranded] for items in (*waiting, part)
                ]
                continue
            linger = result.linger_ms
            for item in part:
                if item.is_last:
                    item.sink.acknowledge(item.outgoing)
    return linger


def _parts(items: list[Item]) -> list[bytes | memoryview]:
    """The items' frames: large parts as they are, small ones put together, for each is sent by a call of its own.

    Copying a whole request would hold the interpreter for a millisecond, and with it the environment.
    """
    out: list[bytes | memoryview] = []
    small: list[bytes | memoryview] = []
    size = 0
    for piece in (piece for item in items for piece in item.frame):
        if len(piece) < LARGE_PART:
            small.append(piece)
            size += len(piece)
        if size >= LARGE_PART or len(piece) >= LARGE_PART:
            out.append(b"".join(small))
            small, size = [], 0
        if len(piece) >= LARGE_PART:
            out.append(piece)
    return [part for part in (*out, b"".join(small)) if len(part)]


def _without(items: list[Item], at: int) -> list[list[Item]]:
    """Put the refused item aside when its turn has come; what is left to send, the first at the end."""
    item = items[at]
    if at > 0:
        return [items[at:], items[:at]]
    if item.refused is not None:
        _put_aside(item, item.refused)
    return [items[1:]]


def _around(items: list[Item], error: TupliError) -> list[list[Item]]:
    """What to send instead of a refused request, the first at the end."""
    bad = _index_of(error, len(items))
    if bad is None:
        half = len(items) // 2
        return [items[half:], items[:half]]
    pieces = _halves(items[bad], error) or [replace(items[bad], refused=error)]
    return [items[bad + 1 :], pieces, items[:bad]]


def _without_benchmark(items: list[Item], error: TupliError) -> Sink | None:
    """Whose benchmark the server does not know: steps without their episode's start would be nobody's there."""
    bad = _index_of(error, len(items))
    is_unknown = error.problem is not None and error.problem.code == "unknown_benchmark"
    return items[bad].sink if is_unknown and bad is not None else None


def _index_of(error: TupliError, count: int) -> int | None:
    index = error.problem.members.get("index") if error.problem is not None else None
    if isinstance(index, int) and 0 <= index < count:
        return index
    return 0 if count == 1 else None


def _halves(item: Item, error: TupliError) -> list[Item]:
    """A record of steps as two, when one of its rows may be what is wrong."""
    event = item.outgoing.event
    code = error.problem.code if error.problem is not None else ""
    if (
        not isinstance(event, StepsRecorded)
        or event.first == event.last
        or code not in ("invalid_event", "invalid_frame", "too_large")  # a server may take shorter frames
    ):
        return []
    batch = event.rows()
    if batch.num_rows < 2:  # it says that it holds more; halved, it would come back for ever
        return []
    half = batch.num_rows // 2
    pieces = (
        (batch.slice(0, half), event.first, event.first + half - 1),
        (
            batch.slice(half),
            event.first + half,
            event.last,
        ),
    )
    out = []
    for rows, first, last in pieces:
        part = replace(event, first=first, last=last, body=encode_rows(rows))
        outgoing = replace(item.outgoing, event=part)
        out.append(item_of(item.sink, outgoing, is_last=item.is_last and last == event.last))
    return out


def _put_aside(item: Item, error: TupliError) -> None:
    event = item.outgoing.event
    name = f"{id_text(event.stream)}-{event.first}"
    folder = item.sink.directory.rejected
    (folder / f"{name}.event").write_bytes(encode_event(event))
    document = error.problem.to_json() if error.problem is not None else {"detail": str(error)}
    about = {"stream": id_text(event.stream), "first": event.first, "last": event.last, "event": event.NAME}
    (folder / f"{name}.json").write_bytes(
        orjson.dumps(about | {"problem": document}, option=orjson.OPT_INDENT_2)
    )
    item.sink.rejected(item.outgoing, error)
    if item.is_last:
        item.sink.acknowledge(item.outgoing)
