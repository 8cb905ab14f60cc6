"""Composition: the services' applications behind one edge, started and stopped together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from anyio import to_thread
from fastapi import FastAPI
from starlette.types import ASGIApp

import tupli_ingest.app as ingest
import tupli_query.app as query
from tupli_ingest.observing import observe
from tupli_ingest.settings import IngestSettings
from tupli_standalone.edge import Edge
from tupli_standalone.guard import LoopbackGuard
from tupli_standalone.root import root_app
from tupli_standalone.settings import Settings

log = structlog.get_logger(__name__)


def build(settings: Settings) -> ASGIApp:
    """The whole process as one ASGI application; its lifespan starts and stops the parts.

    Ingest starts first and stops last: it owns the data directory, and queries read what it wrote.
    """
    ingest_settings = IngestSettings()
    observed = observe(ingest_settings, "tupli")
    ingest_parts = ingest.build(ingest_settings, data_dir=settings.data, observed=observed)
    query_parts = query.build(data_dir=settings.data)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await to_thread.run_sync(ingest_parts.start)
        try:
            await to_thread.run_sync(query_parts.start)
            log.info("ready", url=f"http://{settings.host}:{settings.port}", data=str(settings.data))
            yield
        finally:
            await to_thread.run_sync(query_parts.stop)
            await to_thread.run_sync(ingest_parts.stop, settings.stop_timeout)
            await to_thread.run_sync(observed.close)
            log.info("stopped")

    async def checks() -> dict[str, str | None]:
        return {**await ingest_parts.checks(), **await query_parts.ready()}

    root = root_app(checks, observed.router(), lifespan=lifespan)
    return LoopbackGuard(Edge({"/ingest": ingest.build_app(ingest_parts), "/query": query_parts.app}, root))
