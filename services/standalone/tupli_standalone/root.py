"""What answers beside the services: whether the process lives, and whether all of it is ready."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, Response

from tupli_ingest.http.problem_answers import RequestContext, install_problem_answers

Checks = Callable[[], Awaitable[Mapping[str, str | None]]]
"""Names of checks to what is wrong; nothing, or an empty text, where nothing is."""


def root_app(checks: Checks, figures: APIRouter, *, lifespan: Any = None) -> FastAPI:
    """The application that has the process's lifespan (None: another has it), `/livez`, `/readyz`, and the route of the figures."""
    root = FastAPI(title="Tupli", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    install_problem_answers(root)
    root.add_middleware(RequestContext, clock=time.monotonic)
    root.include_router(figures)

    @root.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @root.get("/readyz")
    async def readyz(response: Response) -> dict[str, object]:
        found = await checks()
        failed = any(found.values())
        response.status_code = 503 if failed else 200
        told = {name: reason or "ok" for name, reason in found.items()}
        return {"status": "not ready" if failed else "ready", "checks": told}

    return root
