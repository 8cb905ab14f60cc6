"""Who may talk to a server without accounts: programs of this machine, not pages that a browser shows.

A page can make a browser send requests to loopback addresses (DNS rebinding, cross-site requests). Both carry
a foreign name: the first in `Host`, the second in `Origin`. `Sec-Fetch-Site` is left alone: `Origin` says it
already.
"""

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from tupli_ingest.http.problem_answers import RequestContext, answer
from tupli_schemas.problems import Problem

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def is_loopback_host(value: str) -> bool:
    """Whether a `Host` header (name, or name and port) names this machine."""
    try:
        parts = urlsplit(f"//{value}")
        return (
            parts.hostname in LOOPBACK_NAMES and (parts.port is None or parts.port > 0) and "@" not in value
        )
    except ValueError:
        return False


def is_own_origin(value: str, host: str) -> bool:
    """Whether an `Origin` header names a page of this server: its `Host`, by any name of this machine."""
    scheme, separator, place = value.partition("://")
    if not separator or scheme not in {"http", "https"} or not is_loopback_host(place):
        return False
    return _port(place, scheme) == _port(host, scheme)


def _port(host: str, scheme: str) -> int:
    return urlsplit(f"//{host}").port or {"http": 80, "https": 443}[scheme]


class LoopbackGuard:
    """ASGI middleware that refuses requests with a foreign Host or Origin (403, code `foreign_origin`).

    Refusals have a request id and are logged, as the services' answers are.
    """

    def __init__(self, app: ASGIApp, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and (problem := _judge(scope)) is not None:
            await RequestContext(_refusal(problem), clock=self._clock)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _refusal(problem: Problem) -> ASGIApp:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(problem)(scope, receive, send)

    return refuse


def _judge(scope: Scope) -> Problem | None:
    values: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        values.setdefault(name.lower(), []).append(value.decode("latin-1"))
    hosts = values.get(b"host", [])
    if len(hosts) != 1 or not is_loopback_host(hosts[0]):
        return Problem("foreign_origin", "this server answers to 127.0.0.1, localhost and [::1] only", "Host")
    if not all(is_own_origin(origin, hosts[0]) for origin in values.get(b"origin", [])):
        return Problem(
            "foreign_origin", "requests from web pages that this server did not serve are refused", "Origin"
        )
    return None
