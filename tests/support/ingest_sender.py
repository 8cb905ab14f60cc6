"""Whoever sends events to a gateway until they are acknowledged, whatever happens to it."""

import threading
import time
from typing import Self

import httpx

from support.ingest_service import EVENTS, JSON
from support.ingest_streams import BENCHMARK, StreamOfItems
from tupli_schemas.catalog import CreateBenchmark, encode_command
from tupli_schemas.events import encode_event
from tupli_schemas.framing import Kind, encode_frame
from tupli_schemas.ids import make_id


class Sender(threading.Thread):
    """Sends streams one request after the other, and a request again until it is acknowledged."""

    def __init__(self, url: str, number: int = 0) -> None:
        super().__init__()
        self.ended = threading.Event()
        self.acknowledged: dict[bytes, int] = {}
        self._number = number
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=10)

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
        for ordinal in (1, 2, 3):
            stream.episode(ordinal, 30 * ordinal)
        events = stream.events(cut=25)
        for start in range(0, len(events), 3):
            part = events[start : start + 3]
            body = b"".join(encode_frame(Kind.EVENT, encode_event(event)) for event in part)
            while not self._post(body):
                if self.ended.wait(0.02):
                    return
            self.acknowledged[stream.stream] = part[-1].last
            time.sleep(0.005)

    def _post(self, body: bytes) -> bool:
        try:
            return self._http.post("/ingest/v1/events", content=body, headers=EVENTS).status_code == 200
        except httpx.TransportError:
            return False


class Load:
    """Two senders at a gateway, for the length of a block; `acknowledged` afterwards."""

    def __init__(self, url: str) -> None:
        self._senders = [Sender(url, number) for number in range(2)]
        self.acknowledged: dict[bytes, int] = {}

    def __enter__(self) -> Self:
        for sender in self._senders:
            sender.start()
        return self

    def __exit__(self, *_: object) -> None:
        for sender in self._senders:
            self.acknowledged |= sender.finish()


def create_benchmark(url: str) -> None:
    body = encode_command(CreateBenchmark(command_id="create", benchmark=BENCHMARK, name="bench"))
    answer = httpx.post(f"{url}/ingest/v1/commands", content=body, headers=JSON, trust_env=False, timeout=30)
    assert answer.status_code == 200, answer.text
