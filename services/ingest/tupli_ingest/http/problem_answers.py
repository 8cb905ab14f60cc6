"""Every error is a problem document (RFC 9457) with a request id.

No stack and no driver text reaches a caller.
"""

import secrets
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tupli_ingest.core.errors import Unavailable
from tupli_ingest.core.meters import NO_METER, Meter
from tupli_ingest.core.tracing import NO_TRACER, TRACEPARENT, Span, Tracer
from tupli_ingest.logs import request_id
from tupli_schemas.problems import MEDIA_TYPE, Problem

REQUEST_ID_HEADER: Final = "x-request-id"
QUIET_PATHS: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""What is asked every few seconds, by machines: neither traced nor counted, and logged for debugging alone."""
_CODE_OF_STATUS: Final = {
    400: "invalid_request",
    403: "foreign_origin",
    404: "not_found",
    405: "invalid_request",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "too_many_requests",
}


_problems: Final[ContextVar[list[str] | None]] = ContextVar("problems", default=None)
"""The codes of the problems that the running request was answered with."""


class Refused(Exception):
    """Ends a request with a problem document."""

    def __init__(self, problem: Problem, *, retry_after_s: int | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.retry_after_s = retry_after_s


def answer(problem: Problem, *, status: int | None = None, retry_after_s: int | None = None) -> Response:
    """The response of a problem, with the id of the request."""
    if (codes := _problems.get()) is not None:
        codes.append(problem.code)
    document = problem.to_json() | {"request_id": request_id.get()}
    if status is not None:
        document["status"] = status
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    return Response(
        orjson.dumps(document), status_code=document["status"], media_type=MEDIA_TYPE, headers=headers
    )


def json_answer(data: dict[str, Any], *, status: int = 200) -> Response:
    """A response of JSON."""
    return Response(orjson.dumps(data), status_code=status, media_type="application/json")


def install_problem_answers(app: FastAPI) -> None:
    """Make the app answer its own errors, the framework's and unforeseen ones as problem documents."""

    async def refused(_request: Request, error: Exception) -> Response:
        if not isinstance(error, Refused):
            raise error
        return answer(error.problem, retry_after_s=error.retry_after_s)

    async def framework(_request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        code = _CODE_OF_STATUS.get(error.status_code, "invalid_request")
        response = answer(Problem(code, str(error.detail)), status=error.status_code)
        response.headers.update(error.headers or {})
        return response

    async def invalid(_request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        first: dict[str, Any] = next(iter(error.errors()), {})
        place = ".".join(str(part) for part in first.get("loc", ()))
        return answer(Problem("invalid_request", str(first.get("msg", "not valid")), place), status=422)

    async def away(_request: Request, error: Exception) -> Response:
        structlog.get_logger("tupli_ingest.http").warning("a part is away", error=str(error))
        return answer(Problem("unavailable", "A part of the service does not answer."), retry_after_s=1)

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(Unavailable, away)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)


class RequestContext:
    """ASGI middleware: gives a request its id, logs it, and answers what nobody foresaw without its text.

    What is refused is counted by its problem's code. A request that is traced begins, or goes on with, the trace
    that its `traceparent` names (W3C Trace Context).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        clock: Callable[[], float],
        meter: Meter = NO_METER,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._app = app
        self._clock = clock
        self._meter = meter
        self._tracer = tracer
        self._log = structlog.get_logger("tupli_ingest.http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_quiet = scope["path"] in QUIET_PATHS
        codes: list[str] = []
        tokens = request_id.set(_request_id(scope)), _problems.set(codes)
        tracer = NO_TRACER if is_quiet else self._tracer
        try:
            with tracer.span(scope["method"], parent=_header(scope, TRACEPARENT)) as span:
                status = await self._answer(scope, receive, send, is_quiet=is_quiet, codes=codes)
                _describe(span, scope, status, codes)
        finally:
            request_id.reset(tokens[0])
            _problems.reset(tokens[1])
        if codes and not is_quiet:
            self._meter.refused(codes[-1])

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, *, is_quiet: bool, codes: list[str]
    ) -> int | None:
        """Answer, and log it; the status, None where nothing could be sent."""
        begun = self._clock()
        sent: dict[str, int] = {}
        try:
            await self._app(scope, receive, _stamping(send, sent))
        except Exception as error:  # noqa: BLE001 -- the edge of the process: the text stays in the log
            self._log.exception("unforeseen error", path=scope["path"], error=type(error).__name__)
            if not sent:
                response = answer(
                    Problem("internal", "Something went wrong; the request id finds it in the log.")
                )
                await response(scope, receive, _stamping(send, sent))
        finally:
            facts: dict[str, Any] = {"code": codes[-1]} if codes else {}
            (self._log.debug if is_quiet else self._log.info)(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=sent.get("status"),
                seconds=self._clock() - begun,
                **facts,
            )
        return sent.get("status")


def _describe(span: Span, scope: Scope, status: int | None, codes: list[str]) -> None:
    """Say of a request's span what its route, answer and size were (OpenTelemetry semantic conventions, HTTP)."""
    route = getattr(scope.get("route"), "path", "")
    if route:
        span.rename(f"{scope['method']} {route}")
    facts: dict[str, str | int | float] = {
        "http.request.method": scope["method"],
        "http.route": route,
        "http.response.status_code": status or 0,
        "tupli.request_id": request_id.get(),
    }
    if (size := _header(scope, "content-length")).isdecimal():
        facts["http.request.body.size"] = int(size)
    if codes:
        facts["tupli.problem"] = codes[-1]
    span.set(facts)


def _stamping(send: Send, sent: dict[str, int]) -> Callable[[Message], Awaitable[None]]:
    async def stamped(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent["status"] = message["status"]
            own = [
                (REQUEST_ID_HEADER.encode(), request_id.get().encode()),
                (b"x-content-type-options", b"nosniff"),
            ]
            message["headers"] = [*message.get("headers", []), *own]
        await send(message)

    return stamped


def _header(scope: Scope, wanted: str) -> str:
    """A header of a request, empty where it has none."""
    name = wanted.encode()
    return next((str(value.decode("latin-1")) for key, value in scope["headers"] if key == name), "")


def _request_id(scope: Scope) -> str:
    """The caller's id if it is a short plain word, else a new one."""
    text = _header(scope, REQUEST_ID_HEADER)
    if len(text) <= 64 and text.isascii() and text.replace("-", "").replace("_", "").isalnum():
        return text
    return secrets.token_hex(8)
