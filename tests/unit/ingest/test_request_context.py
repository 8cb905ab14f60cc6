"""A request's id, its line in the log, its place among the figures and in a trace."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from structlog.testing import capture_logs

from support.meters import KeptMeter, KeptTracer
from tupli_ingest.app import framed_app
from tupli_ingest.core.errors import StoreUnavailable
from tupli_ingest.http.problem_answers import Refused
from tupli_ingest.observing import Observed
from tupli_schemas.problems import Problem

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class World:
    def __init__(self) -> None:
        self.meter, self.tracer = KeptMeter(), KeptTracer()

    @property
    def app(self) -> FastAPI:
        router = APIRouter()

        @router.get("/things/{name}")
        async def things(name: str, number: int = 0) -> dict[str, int]:
            if name == "full":
                raise Refused(Problem("storage_full", "full"))
            if name == "away":
                raise StoreUnavailable("away")
            if name == "odd":
                raise ZeroDivisionError
            return {"number": number}

        async def checks() -> dict[str, str]:
            return {"part": "is away"}

        return framed_app(router, checks, Observed(self.meter, self.tracer))

    def ask(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
                return await http.get(path, headers=headers)

        return asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/things/full", "storage_full"),
        ("/things/away", "unavailable"),
        ("/things/odd", "internal"),
        ("/things/any?number=x", "invalid_request"),
        ("/nothing", "not_found"),
    ],
)
def test_a_refused_request_is_counted_by_its_problem_and_its_line_says_it(path: str, code: str) -> None:
    world = World()
    with capture_logs() as lines:
        assert world.ask(path).json()["code"] == code
    assert world.meter.codes == {code: 1}
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["code"], line["log_level"]) == (code, "info")


def test_what_was_answered_is_no_refusal() -> None:
    world = World()
    with capture_logs() as lines:
        assert world.ask("/things/any").status_code == 200
    assert world.meter.codes == {}
    assert "code" not in lines[0]


def test_machines_that_look_every_second_are_neither_counted_nor_traced_nor_told() -> None:
    world = World()
    with capture_logs() as lines:
        assert world.ask("/readyz").status_code == 503
        assert world.ask("/livez").status_code == 200
    assert world.meter.codes == {}
    assert world.tracer.spans == []
    assert {line["log_level"] for line in lines} == {"debug"}


def test_a_span_says_route_status_request_and_problem_and_goes_on_where_its_caller_was() -> None:
    world = World()
    world.ask("/things/full", {"traceparent": PARENT, "x-request-id": "mine-1"})
    (span,) = world.tracer.spans
    assert (span.name, span.parent) == ("GET /things/{name}", PARENT)
    expected: dict[str, Any] = {
        "http.request.method": "GET",
        "http.route": "/things/{name}",
        "http.response.status_code": 507,
        "tupli.request_id": "mine-1",
        "tupli.problem": "storage_full",
    }
    assert span.attributes == expected


def test_a_path_of_no_route_names_no_span() -> None:
    world = World()
    world.ask("/of/somebody")
    (span,) = world.tracer.spans
    assert (span.name, span.parent, span.attributes["http.route"]) == ("GET", "", "")
