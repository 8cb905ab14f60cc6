"""`/ingest/v1/rebuild`: start filling the next generation from the log, and see how far it is."""

from typing import Any, Protocol

from fastapi import APIRouter, Response

from tupli_ingest.http.problem_answers import json_answer


class Rebuilds(Protocol):
    """Runs one rebuild at a time."""

    def request(self) -> str:
        """The id of the job that begins now, or of the one that runs."""
        ...

    def progress(self) -> dict[str, Any]:
        """State (`idle, running, done, failed`), generation, offset, end, records a second."""
        ...


def rebuild_router(rebuilds: Rebuilds) -> APIRouter:
    """Rebuilds, asked of the running server."""
    router = APIRouter()

    @router.post("/ingest/v1/rebuild")
    def start() -> Response:  # in a thread: the store may be asked
        return json_answer({"job": rebuilds.request()}, status=202)

    @router.get("/ingest/v1/rebuild")
    def progress() -> Response:
        return json_answer(rebuilds.progress())

    return router
