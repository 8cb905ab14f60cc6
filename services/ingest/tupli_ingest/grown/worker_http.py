"""What a worker says of itself over HTTP: `/livez`, `/readyz` and `/metrics`, on an address of its own."""

import asyncio

from fastapi import APIRouter

from tupli_ingest.app import framed_app
from tupli_ingest.grown.workers import WorkerParts
from tupli_ingest.observing import Observed


class WorkerHttp:
    """An application that answers before the worker's `parts` are made, and until they are let go of.

    Everything is answered from memory: a store that hangs holds up nobody who asks. What is asked here is not
    counted among the figures, nor traced.
    """

    def __init__(self, observed: Observed, stop: asyncio.Event) -> None:
        self.parts: WorkerParts | None = None
        self._missing = "not looked for yet"
        self._stop = stop
        asked = APIRouter()
        asked.include_router(observed.router())
        self.app = framed_app(asked, self.checks)

    async def checks(self) -> dict[str, str]:
        """Names of readiness checks to what is wrong, an empty text for nothing."""
        if self._stop.is_set():
            return {"worker": "is ending"}
        if self.parts is None:
            return {"worker": f"waits for the log and the store: {self._missing}"}
        return self.parts.checks()

    def tell(self, missing: str) -> None:
        """What the parts wait for, for as long as they are not made."""
        self._missing = missing
