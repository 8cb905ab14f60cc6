"""The endpoints."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, Final

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tupli_query.core.refusals import Refused
from tupli_query.core.service import QueryService
from tupli_query.core.stream import FrameStream, Parts
from tupli_query.core.visibility import LOCAL, Visibility
from tupli_query.http.framed import FramedResponse
from tupli_query.http.problems import Endpoint, answering, problem_of, request_id_of
from tupli_query.http.readiness import StoreProbe

LOGGER = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
PREFIX: Final = "/query/v1"

Ask = Callable[[Visibility, Any], Any]


def make_app(
    service: QueryService, threads: Executor, probe: StoreProbe, *, idle_seconds: float
) -> Starlette:
    """The application.

    Args:
        service: Answers.
        threads: Where it does, as it blocks.
        probe: Whether the store answers.
        idle_seconds: How long the reader of a stream may read nothing.
    """

    async def dataset(request: Request) -> Response:
        body = await json_body(request)
        made = await _run(threads, service.dataset, visibility_of(request), body)
        guarded = _guarded(made, request_id_of(request))
        return FramedResponse(guarded, threads, idle_seconds=idle_seconds)

    async def readyz(_: Request) -> Response:
        await probe.answered()
        return Response(b'{"ready":true}', media_type="application/json")

    routes = [
        _post("/datasets/query", dataset),
        _post("/datasets/count", _asking(service.count, threads)),
        _post("/episodes/list", _asking(service.episodes, threads)),
        _post("/benchmarks/list", _asking(service.benchmarks, threads)),
        Route("/livez", answering(_livez), methods=["GET"]),
        Route("/readyz", answering(readyz), methods=["GET"]),
        Route("/{path:path}", answering(_unknown), methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
    ]
    return Starlette(routes=routes)


async def json_body(request: Request) -> Any:
    """The body, decoded; nothing counts as an empty object.

    Raises:
        Refused: It is too large, or no JSON.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise Refused("too_large", f"a request has at most {MAX_BODY_BYTES} bytes")
        parts.append(part)
    try:
        return orjson.loads(b"".join(parts)) if size else {}
    except orjson.JSONDecodeError as error:
        raise Refused("invalid_request", f"the body is not JSON ({error})") from error


def visibility_of(_: Request) -> Visibility:
    """Who asks: until accounts exist everybody is the local user."""
    return LOCAL


def _asking(ask: Ask, threads: Executor) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        body = await json_body(request)
        answer = await _run(threads, ask, visibility_of(request), body)
        return Response(orjson.dumps(answer), media_type="application/json")

    return endpoint


def _post(path: str, endpoint: Endpoint) -> Route:
    return Route(PREFIX + path, answering(endpoint), methods=["POST"])


async def _run(threads: Executor, ask: Ask, visibility: Visibility, body: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(threads, ask, visibility, body)


def _guarded(parts: Iterator[Parts], request_id: str) -> Iterator[Parts]:
    """The frames; an error on the way becomes the last one."""
    try:
        yield from parts
    except Exception as error:  # noqa: BLE001 -- the edge of the process: nothing of an error but its problem leaves
        yield FrameStream().problem(problem_of(error, request_id))


async def _livez(_: Request) -> Response:
    return Response(b'{"live":true}', media_type="application/json")


async def _unknown(request: Request) -> Response:
    raise Refused("not_found", f"there is nothing at {request.url.path}")
