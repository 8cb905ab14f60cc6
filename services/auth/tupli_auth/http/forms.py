"""Bodies and addresses of requests, read into what OAuth and the pages take."""

from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request

from tupli_auth.adapters.audit import Asker
from tupli_auth.http.problems import Refusal, request_id
from tupli_auth.oauth.asked import Asked, NotAsked, parameters

MAX_BODY: Final = 64 * 1024
MAX_FIELDS: Final = 50
FORM: Final = "application/x-www-form-urlencoded"


async def asked_of(request: Request) -> Asked:
    """A request's parameters, of its address and of its form.

    Raises:
        Refusal: They mean nothing, or the body is none of a form.
    """
    form: list[tuple[str, str]] = []
    if request.method == "POST":
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = await body_of(request)
        if body and kind != FORM:
            raise Refusal(415, "unsupported_media_type", f"the body has to be {FORM}")
        form = _pairs(body)
    query = _pairs(request.scope["query_string"])
    try:
        return Asked(request.method, request.url.path, request.headers, parameters(query), parameters(form))
    except NotAsked as error:
        raise Refusal(400, "invalid_request", str(error)) from error


async def body_of(request: Request) -> bytes:
    """The body, when it is small.

    Raises:
        Refusal: It is too large.
    """
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > MAX_BODY:
            raise Refusal(413, "too_large", f"the body has more than {MAX_BODY} bytes")
    return bytes(found)


def asker_of(request: Request) -> Asker:
    """From where a request came."""
    address = "" if request.client is None else request.client.host
    agent = request.headers.get("user-agent", "")[:200]
    return Asker(address, agent if agent.isprintable() else "", request_id.get())


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise Refusal(400, "invalid_request", "the parameters cannot be read") from error
