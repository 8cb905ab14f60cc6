"""The streaming answer: threads make it, slow and vanished readers end it."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tupli_query.http.framed import FramedResponse, StreamIdle


class Frames:
    """Frames that say when they are closed."""

    def __init__(self, count: int) -> None:
        self.made = 0
        self.closed = False
        self._count = count

    def __iter__(self) -> Iterator[list[bytes]]:
        try:
            for _ in range(self._count):
                self.made += 1
                yield [b"a", b"b"]
        finally:
            self.closed = True


def answer(frames: Frames, send: Any, receive: Any, idle: float = 5.0) -> None:
    with ThreadPoolExecutor(1) as threads:
        response = FramedResponse(iter(frames), threads, idle_seconds=idle)
        asyncio.run(response({"type": "http"}, receive, send))


async def nobody_leaves() -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


def test_everything_is_sent_and_closed() -> None:
    frames = Frames(3)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    answer(frames, send, nobody_leaves)
    assert b"".join(message.get("body", b"") for message in sent) == b"ababab"
    assert not sent[-1].get("more_body")
    assert frames.closed


def test_a_reader_that_stands_still_ends_the_stream() -> None:
    frames = Frames(1_000)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    with pytest.raises(StreamIdle):
        answer(frames, send, nobody_leaves, idle=0.05)
    assert frames.closed
    assert frames.made <= 2


def test_a_reader_that_leaves_ends_the_stream() -> None:
    frames, enough = Frames(10_000), asyncio.Event()

    async def receive() -> dict[str, Any]:
        await enough.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        if frames.made > 3:
            enough.set()
        await asyncio.sleep(0)

    answer(frames, send, receive)
    assert frames.closed
    assert frames.made < 1_000
