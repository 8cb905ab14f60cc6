"""What a worker serves aside of its work: before its parts are made, while they hang, and no longer than they end."""

import asyncio
import socket
import time
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from support.metrics import Figures
from tupli_ingest.grown.worker_http import WorkerHttp
from tupli_ingest.observing import observe
from tupli_ingest.serving import bound, serving
from tupli_ingest.settings import IngestSettings


class World:
    """The application of a worker on a free port, for the length of a block."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.observed = observe(IngestSettings(), "tupli-worker")
        self.http = WorkerHttp(self.observed, self.stop)
        self.listener = bound("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            return await client.get(self.url + path)

    async def why_not_ready(self) -> dict[str, str]:
        answer = await self.get("/readyz")
        found: dict[str, str] = answer.json()["checks"]
        wrong = {name: reason for name, reason in found.items() if reason}
        assert answer.status_code == (503 if wrong else 200)
        return wrong


def test_a_worker_answers_before_its_parts_are_there_and_says_what_is_missing() -> None:
    async def run() -> None:
        world = World()
        async with serving(world.http.app, world.listener):
            assert (await world.get("/livez")).status_code == 200
            assert await world.why_not_ready() == {
                "worker": "waits for the log and the store: not looked for yet"
            }
            world.http.tell("no tables")
            assert await world.why_not_ready() == {"worker": "waits for the log and the store: no tables"}
            parts: Any = SimpleNamespace(checks=lambda: {"store": "away", "group": ""})
            world.http.parts = parts
            assert await world.why_not_ready() == {"store": "away"}
            parts.checks = lambda: {"store": ""}
            assert await world.why_not_ready() == {}
            world.stop.set()
            assert await world.why_not_ready() == {"worker": "is ending"}

    asyncio.run(run())


def test_what_is_asked_of_a_worker_is_not_among_its_figures() -> None:
    async def run() -> str:
        world = World()
        world.observed.meter.refused("conflict")
        async with serving(world.http.app, world.listener):
            assert (await world.get("/nothing")).status_code == 404
            return (await world.get("/metrics")).text

    found = Figures(asyncio.run(run()))
    assert found.sum("tupli_refused_requests_total") == 1
    assert found.each("tupli_build_info", service="tupli-worker") == [1]


def test_somebody_who_keeps_a_connection_does_not_hold_up_the_end() -> None:
    async def run() -> float:
        world = World()
        async with serving(world.http.app, world.listener):
            reader, writer = await asyncio.open_connection(*world.listener.getsockname())
            writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b"200" in await reader.readline()
            _, half = await asyncio.open_connection(*world.listener.getsockname())
            half.write(b"GET /livez HT")
            await half.drain()
            begun = time.monotonic()
        for one in (writer, half):
            one.close()
        return time.monotonic() - begun

    assert asyncio.run(run()) < 1.5


def test_an_address_that_another_has_is_told_before_anything_is_begun() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            bound("127.0.0.1", other.getsockname()[1])


def test_without_a_socket_nothing_is_served() -> None:
    async def run() -> None:
        async with serving(None, None):
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
