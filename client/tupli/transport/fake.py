"""The transport in memory: a small honest server for tests and examples, with faults to order."""

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Any

from tupli.errors import InvalidInput, NotFound, TupliError
from tupli.transport.base import Body, SendResult, whole
from tupli_schemas.catalog import Command, CreateBenchmark
from tupli_schemas.errors import ContractError
from tupli_schemas.events import EpisodeEnded, EpisodeStarted, Event, StepsRecorded, decode_event
from tupli_schemas.framing import decode_frames
from tupli_schemas.ids import episode_id, id_text, make_id
from tupli_schemas.problems import Problem


class FakeTransport:
    """Decodes, checks and keeps what it is sent.

    Attributes:
        events: Every accepted event, repetitions included, in the order of arrival.
        before_send: Called with the request's events before they are kept; what it raises is the answer.
        after_send: Called after they are kept; what it raises looks like an answer that got lost.
    """

    def __init__(self, *, address: str = "memory://tupli") -> None:
        self._address = address
        self._lock = threading.Lock()
        self.events: list[Event] = []
        self.requests = 0
        self.benchmarks: dict[str, bytes] = {}
        self.linger_ms = 0
        self.before_send: Callable[[list[Event]], None] = _nothing
        self.after_send: Callable[[list[Event]], None] = _nothing
        self.before_command: Callable[[Command], None] = _nothing

    @property
    def address(self) -> str:
        """The name it was given."""
        return self._address

    @property
    def identity(self) -> str:
        """Nobody in particular."""
        return ""

    @property
    def route(self) -> Hashable:
        """Its own: what was sent to one is not with another."""
        return id(self)

    def send_events(self, body: Body) -> SendResult:
        """Decode and keep the events."""
        events = [_decoded(frame.payload, index) for index, frame in enumerate(decode_frames(whole(body)))]
        for index, event in enumerate(events):
            if isinstance(event, StepsRecorded) and event.rows().num_rows != event.last - event.first + 1:
                problem = Problem("invalid_event", "rows and numbers differ", members={"index": index})
                raise InvalidInput(problem.detail, place=f"events[{index}].rows", problem=problem)
        self.before_send(events)
        with self._lock:
            self.requests += 1
            self.events += events
        self.after_send(events)
        last: dict[str, int] = defaultdict(int)
        for event in events:
            last[id_text(event.stream)] = max(last[id_text(event.stream)], event.last)
        return SendResult(len(events), dict(last), self.linger_ms)

    def command(self, command: Command) -> dict[str, Any]:
        """Create or find a benchmark; other commands answer nothing."""
        self.before_command(command)
        if not isinstance(command, CreateBenchmark):
            return {}
        with self._lock:
            created = command.name not in self.benchmarks
            found = self.benchmarks.setdefault(command.name, command.benchmark)
        return {"id": id_text(found), "name": command.name, "created": created}

    def stream_state(self, stream: bytes) -> dict[str, Any]:
        """The gapless prefix of numbers, and the episodes."""
        with self._lock:
            events = [event for event in self.events if event.stream == stream]
        if not events:
            raise NotFound("no such stream")
        expected = 1
        for event in sorted(events, key=lambda event: event.first):
            if event.first <= expected:
                expected = max(expected, event.last + 1)
        return {"stream": id_text(stream), "expected": expected, "episodes": _episodes(events)}

    def new_stream(self, now_ms: int, random_bits: int) -> bytes:
        """A stream that goes through a gateway."""
        return make_id(now_ms, random_bits)

    def close(self) -> None:
        """Nothing to let go of."""


def _decoded(payload: bytes, index: int) -> Event:
    try:
        return decode_event(payload)
    except ContractError as error:
        raise refusal(index=index, detail=error.reason) from error


def refusal(code: str = "invalid_event", *, index: int = 0, detail: str = "refused") -> TupliError:
    """The error of a request whose event `index` is refused."""
    problem = Problem(code, detail, place=f"events[{index}]", members={"index": index})
    return InvalidInput(detail, place=problem.place, problem=problem)


def _episodes(events: list[Event]) -> list[dict[str, Any]]:
    status: dict[int, str] = {}
    for event in events:
        if isinstance(event, EpisodeStarted):
            status.setdefault(event.episode, "open")
        elif isinstance(event, EpisodeEnded):
            flags = ("terminated", event.terminated), ("truncated", event.truncated)
            status[event.episode] = next((name for name, flag in flags if flag), "aborted")
    stream = events[0].stream
    return [{"id": id_text(episode_id(stream, n)), "status": text} for n, text in sorted(status.items())]


def _nothing(_: object) -> None:
    """No fault."""
