"""Errors as problem documents (RFC 9457) with a request id; those of OAuth's endpoints have OAuth's form."""

import secrets
from contextvars import ContextVar
from typing import Final

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tupli_auth.core.errors import Busy, Unavailable
from tupli_schemas.problems import MEDIA_TYPE, Problem

request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")
REQUEST_ID_HEADER: Final = b"x-request-id"
_CODES: Final = {404: "not_found", 413: "too_large", 415: "unsupported_media_type", 429: "too_many_requests"}


class Refusal(Exception):
    """Ends a request with a problem document."""

    def __init__(self, status: int, code: str, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers = headers or {}


def answer(refusal: Refusal) -> Response:
    """The response of a refusal."""
    document = Problem(refusal.code, refusal.detail, request_id=request_id.get()).to_json()
    document["status"] = refusal.status
    return Response(orjson.dumps(document), refusal.status, refusal.headers, MEDIA_TYPE)


def install_problem_answers(app: FastAPI) -> None:
    """Make the app answer its own errors and the framework's as problem documents."""

    async def refused(_: Request, error: Exception) -> Response:
        if not isinstance(error, Refusal):
            raise error
        return answer(error)

    async def framework(_: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        code = _CODES.get(error.status_code, "invalid_request")
        return answer(Refusal(error.status_code, code, str(error.detail), headers=dict(error.headers or {})))

    async def away(_: Request, error: Exception) -> Response:
        after = error.retry_after_s if isinstance(error, Busy) else 1
        structlog.get_logger("tupli_auth.http").warning("not available", error=str(error))
        detail = "Too much is under way." if isinstance(error, Busy) else "The database does not answer."
        return answer(Refusal(503, "unavailable", detail, headers={"Retry-After": str(after)}))

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(Unavailable, away)


class RequestContext:
    """ASGI middleware: gives a request its id, logs it without its parameters, and answers what nobody foresaw."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = structlog.get_logger("tupli_auth.http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = request_id.set(_id_of(scope))
        status = 0

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [
                    (REQUEST_ID_HEADER, request_id.get().encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        try:
            await self._app(scope, receive, stamped)
        except Exception:
            self._log.exception("unforeseen", path=scope["path"])
            if status:
                raise  # it has begun to answer: the connection is cut
            unforeseen = Refusal(500, "internal", "Something went wrong; the request id finds it in the log.")
            await answer(unforeseen)(scope, receive, stamped)
        finally:
            self._log.info(
                "request", method=scope["method"], path=scope["path"], status=status, id=request_id.get()
            )
            request_id.reset(token)


def _id_of(scope: Scope) -> str:
    """The caller's id if it is a short plain word, else a new one."""
    text = next((value.decode("latin-1") for key, value in scope["headers"] if key == REQUEST_ID_HEADER), "")
    if 0 < len(text) <= 64 and text.isascii() and text.replace("-", "").replace("_", "").isalnum():
        return str(text)
    return secrets.token_hex(8)
