"""`GET /metrics`: the figures of this process, in the text format that Prometheus asks for."""

from collections.abc import Callable
from typing import Final

from fastapi import APIRouter, Request, Response

METRICS_PATH: Final = "/metrics"

Render = Callable[[str], tuple[bytes, str]]
"""The figures as the Accept header wants them, and their media type."""


def metrics_router(render: Render) -> APIRouter:
    """The route. All figures are read from memory, on the event loop."""
    router = APIRouter()

    @router.get(METRICS_PATH)
    async def metrics(request: Request) -> Response:
        body, media_type = render(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": media_type})

    return router
