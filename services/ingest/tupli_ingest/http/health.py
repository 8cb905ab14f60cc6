"""`/livez` and `/readyz`."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response

from tupli_ingest.http.problem_answers import answer, json_answer
from tupli_schemas.problems import Problem

Checks = Callable[[], Awaitable[dict[str, str]]]
"""Names of checks to what is wrong, an empty text for nothing."""


def health_router(checks: Checks) -> APIRouter:
    """Whether the process lives, and whether it can serve."""
    router = APIRouter()

    @router.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> Response:
        found = await checks()
        wrong = {name: reason for name, reason in found.items() if reason}
        if wrong:
            detail = "; ".join(f"{name}: {reason}" for name, reason in wrong.items())
            return answer(Problem("unavailable", detail, members={"checks": found}), retry_after_s=1)
        return json_answer({"status": "ok", "checks": found})

    return router
