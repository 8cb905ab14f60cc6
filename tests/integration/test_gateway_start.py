"""A gateway whose Kafka or ClickHouse is away when it starts: it answers, says why, and begins when they come."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
from fastapi import APIRouter

from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_log import KafkaLog, ProducerLimits
from tupli_ingest.app import framed_app
from tupli_ingest.core.errors import LogUnavailable, UnfitStore
from tupli_ingest.grown.gateway_http import GatewayHttp
from tupli_ingest.observing import NOT_OBSERVED
from tupli_schemas.records import Envelope, NewRecord

RECORD = NewRecord(b"k" * 16, Envelope(event="E", version=1, subject=b"s" * 16, received_at=0), b"")


class Parts:
    """A gateway's parts, as far as they are asked: an app with one route, and a time within which it runs."""

    def __init__(self) -> None:
        router = APIRouter()
        router.add_api_route("/ingest/v1/events", lambda: {"accepted": 1}, methods=["POST"])
        self.app = framed_app(router, self.checks)
        self.is_running = False

    async def checks(self) -> dict[str, str]:
        return {"log": ""}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.is_running = True
        yield
        self.is_running = False


@asynccontextmanager
async def served(make: Callable[[], Any], end: Callable[[], None] = lambda: None) -> AsyncIterator[Any]:
    """The application, alive, and a client of it."""
    http = GatewayHttp(make, NOT_OBSERVED, retry_after_s=1, end=end)
    async with http._starting.router.lifespan_context(http._starting):
        transport = httpx.ASGITransport(app=http)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield SimpleNamespace(http=http, client=client)


async def answers(client: httpx.AsyncClient, path: str, status: int, word: str) -> None:
    async with asyncio.timeout(20):
        while True:
            answer = await client.get(path)
            if answer.status_code == status and word in answer.text:
                return
            await asyncio.sleep(0.01)


def test_it_answers_while_they_are_away_and_works_when_they_have_come() -> None:
    away = True
    parts = Parts()

    def make() -> Any:
        if away:
            raise LogUnavailable("the log does not answer (KafkaConnectionError)")
        return parts

    async def run() -> None:
        nonlocal away
        async with served(make) as gateway:
            client = gateway.client
            assert (await client.get("/livez")).status_code == 200
            await answers(client, "/readyz", 503, "KafkaConnectionError")
            refused = await client.post("/ingest/v1/events", content=b"")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert refused.json()["code"] == "unavailable"
            away = False
            await answers(client, "/readyz", 200, "log")
            assert (await client.post("/ingest/v1/events", content=b"")).json() == {"accepted": 1}
            assert (await client.get("/livez")).status_code == 200
            assert parts.is_running
        assert not parts.is_running

    asyncio.run(run())


def test_it_ends_in_time_while_they_are_away() -> None:
    def make() -> Any:
        raise LogUnavailable("away")

    async def run() -> None:
        async with asyncio.timeout(10), served(make):
            pass

    asyncio.run(run())


def test_what_no_waiting_can_heal_ends_the_process_with_its_reason() -> None:
    def make() -> Any:
        raise UnfitStore("tupli.serving is replicated")

    async def run() -> None:
        ended = asyncio.Event()
        async with served(make, ended.set) as gateway:
            await asyncio.wait_for(ended.wait(), 10)
        assert isinstance(gateway.http.failure, UnfitStore)

    asyncio.run(run())


def test_requests_beside_a_broker_that_takes_connections_and_says_nothing() -> None:
    async def run(port: int) -> None:
        log = KafkaLog(KafkaConnection(brokers=f"127.0.0.1:{port}"), limits=ProducerLimits(patience_s=0.5))
        async with asyncio.timeout(20):  # one attempt alone takes 30 seconds
            for _ in range(2):
                found = await asyncio.gather(
                    *(log.append("t", [RECORD]) for _ in range(10)), return_exceptions=True
                )
                assert all(isinstance(one, LogUnavailable) for one in found)
            await log.stop()

    with socket.create_server(("127.0.0.1", 0)) as hole:
        asyncio.run(run(hole.getsockname()[1]))
