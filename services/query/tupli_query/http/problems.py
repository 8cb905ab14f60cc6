"""Problem documents (RFC 9457) and request ids."""

import logging
import re
import uuid
from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tupli_query.core.reader import ReaderBusy, ReaderFailed
from tupli_query.core.refusals import Refused
from tupli_schemas.errors import ContractError, FilterError
from tupli_schemas.keys import UnknownKey
from tupli_schemas.problems import CODES, MEDIA_TYPE, Problem

LOGGER = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

Endpoint = Callable[[Request], Awaitable[Response]]


def request_id_of(request: Request) -> str:
    """The caller's request id, when it is a plain one, else a new one; the same for the whole request."""
    known: str | None = getattr(request.state, "request_id", None)
    if known is None:
        given = request.headers.get(REQUEST_ID, "")
        known = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request.state.request_id = known
    return known


def answering(endpoint: Endpoint) -> Endpoint:
    """The endpoint with every error answered as a problem document, and a request id on every answer."""

    async def answer(request: Request) -> Response:
        try:
            response = await endpoint(request)
        except Exception as error:  # noqa: BLE001 -- the edge of the process: nothing of an error but its problem leaves
            response = problem_response(problem_of(error, request_id_of(request)))
        response.headers.setdefault(REQUEST_ID, request_id_of(request))
        LOGGER.info(
            "request",
            extra={
                "method": request.method,
                "path": request.url.path,
                "status": response.status_code,
                "request_id": request_id_of(request),
            },
        )
        response.headers.setdefault("x-content-type-options", "nosniff")
        return response

    return answer


def problem_of(error: Exception, request_id: str) -> Problem:
    """What a caller is told of an error; what the engine said goes to the log alone."""
    if isinstance(error, Refused):
        problem = error.problem
        return Problem(problem.code, problem.detail, problem.place, request_id, problem.members)
    if isinstance(error, ContractError):
        members = {"known": list(error.known)} if isinstance(error, UnknownKey) else {}
        return Problem(_code_of(error), error.reason, error.place, request_id, members)
    if isinstance(error, ReaderBusy):
        detail = "Every read stream is taken; try again soon"
        return Problem("too_many_requests", detail, "", request_id, {"retry_after": error.retry_after})
    kind = "the store failed" if isinstance(error, ReaderFailed) else "unexpected error"
    LOGGER.error("%s (request %s)", kind, request_id, exc_info=error, extra={"request_id": request_id})
    return Problem("internal", "The request could not be answered; the server's log says why", "", request_id)


def problem_response(problem: Problem) -> Response:
    """The answer that carries a problem document."""
    response = Response(orjson.dumps(problem.to_json()), problem.status, media_type=MEDIA_TYPE)
    if CODES[problem.code][2]:
        response.headers["retry-after"] = str(problem.members.get("retry_after", 1))
    return response


def _code_of(error: ContractError) -> str:
    if isinstance(error, UnknownKey):
        return "unknown_key"
    return "invalid_filter" if isinstance(error, FilterError) else "invalid_request"
