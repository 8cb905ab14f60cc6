"""`python -m tupli_standalone.front`: gateway and query service of the grown system behind one address.

For one machine, or where no other edge joins them: clients know one address. Both may as well run as processes of
their own (`python -m tupli_ingest gateway`, `python -m tupli_query`), with any edge that goes by path.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.types import ASGIApp

from tupli_ingest.adapters.clickhouse_client import ClickHouseConnection
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.cluster import GatewayParts, once_available
from tupli_ingest.core.errors import IngestError
from tupli_ingest.logs import adopt_standard_logging, configure_logging
from tupli_ingest.observing import Observed, observe
from tupli_ingest.serving import serve, stop_on_signals
from tupli_ingest.settings import IngestSettings
from tupli_query.adapters.clickhouse_reader import ClickHouseConnection as ReaderConnection
from tupli_query.app import QueryParts, build_over_http
from tupli_query.settings import QuerySettings
from tupli_standalone.edge import Edge
from tupli_standalone.guard import LOOPBACK_NAMES, LoopbackGuard
from tupli_standalone.root import root_app


def joined(gateway: GatewayParts, query: QueryParts) -> ASGIApp:
    """Both services as one application; its lifespan is theirs."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with gateway.running():
            yield
            await asyncio.to_thread(query.stop)

    async def checks() -> dict[str, str | None]:
        return {**await gateway.checks(), **await asyncio.to_thread(query.ready)}

    root = root_app(checks, gateway.observed.router(), lifespan=lifespan)
    return LoopbackGuard(Edge({"/ingest": gateway.app, "/query": query.app}, root))


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; 2 for what cannot start, with the reason on stderr."""
    parser = argparse.ArgumentParser(
        "tupli_standalone.front", description="Gateway and query service in one."
    )
    parser.add_argument("--host", default="127.0.0.1", choices=sorted(LOOPBACK_NAMES))
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args(arguments)
    try:
        settings = IngestSettings()
        configure_logging(form=settings.log_format, level=settings.log_level, service="tupli-front")
        adopt_standard_logging(form=settings.log_format, level=settings.log_level, service="tupli-front")
        with closing(observe(settings, "tupli-front")) as observed:
            return asyncio.run(_serve(settings, observed, given.host, given.port))
    except (IngestError, ValidationError, OSError) as error:
        sys.stderr.write(f"tupli_standalone.front: {error}\n")
        return 2


async def _serve(settings: IngestSettings, observed: Observed, host: str, port: int) -> int:
    kafka, clickhouse = KafkaConnection.from_environment(), ClickHouseConnection.from_environment()
    query = build_over_http(QuerySettings(), ReaderConnection.from_environment())
    gateway = await once_available(
        lambda: GatewayParts(settings, kafka, clickhouse, observed), stop_on_signals()
    )
    if gateway is None:
        return 0
    return await serve(joined(gateway, query), host, port)


if __name__ == "__main__":
    sys.exit(main())
