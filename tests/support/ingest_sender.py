"""Whoever sends events to a gateway until they are acknowledged, whatever happens to it."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import httpx

from support.ingest_service import EVENTS, JSON, eventually
from support.ingest_streams import BENCHMARK, RowItem, StreamOfItems
from tupli_schemas.catalog import CreateBenchmark, encode_command
from tupli_schemas.events import Event, encode_event
from tupli_schemas.framing import Kind, encode_frame
from tupli_schemas.ids import make_id

EPISODE_STEPS: Final = (30, 60, 90)
"""The episodes of each stream that is sent."""
NO_ANSWER: Final = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of a request, `NO_ANSWER` for none, and when it was known, on the clock of `time.monotonic`."""

    at: float
    status: int


class Sender(threading.Thread):
    """Sends streams one request after the other, and a request again until it is acknowledged.

    `pause_s` is the time between two requests; `timeout_s` is how long an answer is waited for.
    """

    def __init__(self, url: str, number: int = 0, *, pause_s: float = 0.005, timeout_s: float = 10.0) -> None:
        super().__init__()
        self.ended = threading.Event()
        self.acknowledged: dict[bytes, int] = {}
        self.answers: list[Answer] = []
        self._number = number
        self._pause_s = pause_s
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=timeout_s)

    def run(self) -> None:
        with self._http:
            number = 1_000_000 * self._number
            while not self.ended.is_set():
                number += 1
                self._send_stream(StreamOfItems(make_id(1_700_000_000_000 + number, number)))

    def finish(self) -> dict[bytes, int]:
        self.ended.set()
        self.join()
        return self.acknowledged

    def _send_stream(self, stream: StreamOfItems) -> None:
        events = filled(stream).events(cut=25)
        for start in range(0, len(events), 3):
            part = events[start : start + 3]
            body = b"".join(encode_frame(Kind.EVENT, encode_event(event)) for event in part)
            while not self._post(body):
                if self.ended.wait(0.02):
                    return
            self.acknowledged[stream.stream] = part[-1].last
            time.sleep(self._pause_s)

    def _post(self, body: bytes) -> bool:
        try:
            status = self._http.post("/ingest/v1/events", content=body, headers=EVENTS).status_code
        except httpx.TransportError:
            status = NO_ANSWER
        self.answers.append(Answer(time.monotonic(), status))
        return status == 200


class Load:
    """Two senders at a gateway, for the length of a block; `acknowledged` afterwards."""

    def __init__(self, url: str, *, pause_s: float = 0.005, timeout_s: float = 10.0) -> None:
        self._senders = [Sender(url, n, pause_s=pause_s, timeout_s=timeout_s) for n in range(2)]
        self.acknowledged: dict[bytes, int] = {}

    @property
    def answers(self) -> list[Answer]:
        """All answers by now, in no order."""
        return [answer for sender in self._senders for answer in list(sender.answers)]

    def comes_through(self, seconds: float) -> None:
        """When each sender has something acknowledged from now on."""
        since = time.monotonic()

        def is_through() -> bool:
            newest = (next(iter(reversed(sender.answers)), None) for sender in self._senders)
            return all(one is not None and one.at > since and one.status == 200 for one in newest)

        eventually(is_through, seconds)

    def __enter__(self) -> Self:
        for sender in self._senders:
            sender.start()
        return self

    def __exit__(self, *_: object) -> None:
        for sender in self._senders:
            self.acknowledged |= sender.finish()


def filled(stream: StreamOfItems) -> StreamOfItems:
    """A stream with the episodes that senders send."""
    for ordinal, steps in enumerate(EPISODE_STEPS, 1):
        stream.episode(ordinal, steps)
    return stream


def rows_up_to(last: int) -> int:
    """How many rows a stream of senders has among its first `last` numbers."""
    return sum(isinstance(item, RowItem) for item in filled(StreamOfItems()).items[:last])


def create_benchmark(url: str) -> None:
    body = encode_command(CreateBenchmark(command_id="create", benchmark=BENCHMARK, name="bench"))
    answer = httpx.post(f"{url}/ingest/v1/commands", content=body, headers=JSON, trust_env=False, timeout=30)
    assert answer.status_code == 200, answer.text


def post_events(url: str, events: Sequence[Event], **headers: str) -> httpx.Response:
    """One request."""
    body = b"".join(encode_frame(Kind.EVENT, encode_event(event)) for event in events)
    return httpx.post(
        f"{url}/ingest/v1/events", content=body, headers=EVENTS | headers, trust_env=False, timeout=30
    )


def send_events(url: str, events: Sequence[Event]) -> None:
    """One request, which must be accepted."""
    answer = post_events(url, events)
    assert answer.status_code == 200, answer.text
