"""Readiness beside parts that are away: an answer with its checks, never an error of its own."""

import asyncio

import httpx
from fastapi import APIRouter

from tupli_ingest.adapters.memory import MemoryStore
from tupli_ingest.app import framed_app
from tupli_ingest.core.errors import LogUnavailable
from tupli_ingest.processing.readiness import Readiness


def test_a_log_that_does_not_answer_makes_it_not_ready_and_nothing_else() -> None:
    readiness = Readiness(lambda: True, MemoryStore(), {})

    def caught_up() -> bool:
        raise LogUnavailable("the log does not answer")

    readiness.caught_up = caught_up

    async def checks() -> dict[str, str]:
        return readiness.checks()

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(framed_app(APIRouter(), checks))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            return await http.get("/readyz")

    answer = asyncio.run(ask())
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["checks"] == {"log": "", "catalogue": "the log does not answer", "store": ""}
