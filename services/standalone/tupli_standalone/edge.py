"""The edge: joins the services under one address by path, with and without the `/api` prefix."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send


class Edge:
    """ASGI application that hands a request to the service whose prefix its path has, else to `default`.

    Args:
        services: Prefix (`/ingest`) to application; applications see the whole path, without `/api`.
        default: What answers every other path, and the lifespan.
    """

    def __init__(self, services: Mapping[str, ASGIApp], default: ASGIApp) -> None:
        self._services = dict(services)
        self._default = default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        if scope["type"] != "http":
            await self._default(scope, receive, send)
            return
        path: str = scope["path"]
        if path == "/api" or path.startswith("/api/"):
            path = path[len("/api") :] or "/"
            scope = dict(scope, path=path, raw_path=scope.get("raw_path", b"")[len(b"/api") :] or b"/")
        first = "/" + path.split("/", 2)[1]
        await self._services.get(first, self._default)(scope, receive, send)
