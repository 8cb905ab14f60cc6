"""A gateway's address: it answers from the process's first moment, also while Kafka or ClickHouse are away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from fastapi import APIRouter, FastAPI, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tupli_ingest.app import framed_app
from tupli_ingest.grown.parts import Closable, once_available
from tupli_ingest.http.problem_answers import answer
from tupli_ingest.observing import Observed
from tupli_schemas.problems import Problem

METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Served(Closable, Protocol):
    """What can serve when it is made: a gateway, or one with more beside it (`cluster.GatewayParts`)."""

    @property
    def app(self) -> ASGIApp:
        """What answers; its lifespan is not used."""
        ...

    def running(self) -> AbstractAsyncContextManager[None]:
        """Within, it works; it is let go of then."""
        ...


class GatewayHttp:
    """An ASGI application: that of the parts once they are made; until then `/livez`, `/readyz` and 503.

    `make` is tried until log and store let it. What else it raises is kept as `failure`, and `end` is called.
    """

    def __init__(
        self,
        make: Callable[[], Served],
        observed: Observed,
        *,
        retry_after_s: int,
        end: Callable[[], None],
    ) -> None:
        self.failure: Exception | None = None
        self._make = make
        self._end = end
        self._missing = "not looked for yet"
        self._retry_after_s = retry_after_s
        self._starting = framed_app(APIRouter(), self._checks, observed, lifespan=self._running)
        self._starting.add_api_route("/{path:path}", self._not_yet, methods=METHODS)
        self._app: ASGIApp = self._starting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; the life of the process is told to the application that it begins with."""
        app = self._starting if scope["type"] == "lifespan" else self._app
        await app(scope, receive, send)

    async def _checks(self) -> dict[str, str]:
        return {"gateway": f"waits for the log and the store: {self._missing}"}

    async def _not_yet(self) -> Response:
        """What a recorder gets meanwhile: it keeps what it has, and sends it again."""
        detail = "The server is starting and cannot take this now; send it again."
        return answer(Problem("unavailable", detail), retry_after_s=self._retry_after_s)

    @asynccontextmanager
    async def _running(self, _: FastAPI) -> AsyncIterator[None]:
        stop = asyncio.Event()
        work = asyncio.create_task(self._work(stop))
        try:
            yield
        finally:
            stop.set()
            await work

    async def _work(self, stop: asyncio.Event) -> None:
        try:
            parts = await once_available(self._make, stop, self._tell)
            if parts is None:
                return
            async with parts.running():
                self._app = parts.app
                await stop.wait()
        except Exception as error:  # noqa: BLE001 -- the edge of the task: the process ends and says so
            self.failure = error
            self._end()

    def _tell(self, missing: str) -> None:
        self._missing = missing
