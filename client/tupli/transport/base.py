"""The port between the client and a Tupli server's write side."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tupli_schemas.catalog import Command


@dataclass(frozen=True, slots=True)
class SendResult:
    """What the server says of a request of events that it has made durable.

    `streams` gives the last number it holds of each stream of the request; `linger_ms` is how long it would
    like a recorder to collect before the next request, 0 for no wish.
    """

    accepted: int
    streams: Mapping[str, int] = field(default_factory=dict)
    linger_ms: int = 0


Body = bytes | Sequence[bytes | memoryview]
"""Framed events, in one piece or in parts that belong one behind the other: large ones need not be copied."""


def whole(body: Body) -> bytes:
    """A body in one piece."""
    return body if isinstance(body, bytes) else b"".join(body)


class Transport(Protocol):
    """Ships events and commands. Every method may be called again with the same input without harm.

    Errors: `TransportError` (try again), `AuthError` (a credential is missing or too weak), `NotFound`,
    `Conflict`, `InvalidInput` (will never be accepted as it is; `problem` says why). Calls may come from any
    thread, and after a fork from the child: an implementation keeps no connection across one.
    """

    @property
    def address(self) -> str:
        """Which server this is, as the spool names it."""

    @property
    def identity(self) -> str:
        """A fingerprint of who is recording; the spool is flushed only as the same. Empty when anonymous."""

    @property
    def route(self) -> Hashable:
        """Where calls go, and as whom: streams whose transports are equal in it share requests."""

    def send_events(self, body: Body) -> SendResult:
        """Deliver framed events; returns once they are durable. A refused request leaves nothing behind."""

    def command(self, command: Command) -> dict[str, Any]:
        """The result of a catalogue command, once its verdict is known."""

    def stream_state(self, stream: bytes) -> dict[str, Any]:
        """What the server has made visible of a stream; `NotFound` before its first event."""

    def new_stream(self, now_ms: int, random_bits: int) -> bytes:
        """The id of a new stream that goes this way, from Unix milliseconds and random bits (`tupli_schemas.ids`)."""

    def close(self) -> None:
        """Let go of connections; the next call opens new ones."""
