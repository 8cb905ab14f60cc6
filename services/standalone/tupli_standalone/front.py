"""`python -m tupli_standalone.front`: gateway and query service of the grown system behind one address.

For one machine, or where no other edge joins them: clients know one address. Both may as well run as processes of
their own (`python -m tupli_ingest gateway`, `python -m tupli_query`), with any edge that goes by path.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, closing
from typing import Final

from pydantic import ValidationError
from starlette.types import ASGIApp

from tupli_ingest.adapters.clickhouse_client import ClickHouseConnection
from tupli_ingest.adapters.daemon_threads import DaemonThreads
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.core.errors import IngestError
from tupli_ingest.grown.gateway_http import GatewayHttp
from tupli_ingest.grown.parts import GatewayParts
from tupli_ingest.logs import adopt_standard_logging, configure_logging
from tupli_ingest.observing import Observed, observe
from tupli_ingest.serving import serve, stop_on_signals
from tupli_ingest.settings import IngestSettings
from tupli_ingest.variables import tell_unknown_variables
from tupli_query.adapters.clickhouse_reader import ClickHouseConnection as ReaderConnection
from tupli_query.app import QueryParts, build_over_http
from tupli_query.settings import QuerySettings
from tupli_schemas.addresses import port
from tupli_schemas.variables import wrong_variables
from tupli_standalone.edge import Edge
from tupli_standalone.guard import LOOPBACK_NAMES, LoopbackGuard
from tupli_standalone.root import root_app

READ: Final = (IngestSettings, KafkaConnection, ClickHouseConnection, QuerySettings, ReaderConnection)


class FrontParts:
    """Both services in one application, as soon as the gateway's parts can be made; queries need nothing for that."""

    def __init__(self, gateway: GatewayParts, query: QueryParts) -> None:
        self._gateway = gateway
        self._query = query
        root = root_app(self._checks, gateway.observed.router())
        self.app: ASGIApp = Edge({"/ingest": gateway.app, "/query": query.app}, root)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Within, the gateway works."""
        return self._gateway.running()

    def close(self) -> None:
        """Let go of the gateway's parts."""
        self._gateway.close()

    async def _checks(self) -> dict[str, str | None]:
        return {**await self._gateway.checks(), **await self._query.ready()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; 2 for what cannot start, with the reason on stderr."""
    parser = argparse.ArgumentParser(
        "tupli_standalone.front", description="Gateway and query service in one."
    )
    parser.add_argument("--host", default="127.0.0.1", choices=sorted(LOOPBACK_NAMES))
    parser.add_argument("--port", type=port, default=8080)
    given = parser.parse_args(arguments)
    try:
        settings = IngestSettings()
        configure_logging(form=settings.log_format, level=settings.log_level, service="tupli-front")
        adopt_standard_logging(form=settings.log_format, level=settings.log_level, service="tupli-front")
        tell_unknown_variables(os.environ, READ, elsewhere=("TUPLI_CLICKHOUSE_READER_",))
        with closing(observe(settings, "tupli-front")) as observed:
            return asyncio.run(_serve(settings, observed, given.host, given.port))
    except ValidationError as error:
        sys.stderr.write(f"tupli_standalone.front: {wrong_variables(error, READ)}\n")
        return 2
    except (IngestError, OSError) as error:
        sys.stderr.write(f"tupli_standalone.front: {error}\n")
        return 2


async def _serve(settings: IngestSettings, observed: Observed, host: str, port: int) -> int:
    """Serve from the first moment on; what is away is told by `/readyz`, and everything else is 503 meanwhile."""
    kafka, clickhouse = KafkaConnection.from_environment(), ClickHouseConnection.from_environment()
    query = build_over_http(QuerySettings(), ReaderConnection.from_environment())
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    end = stop_on_signals()
    http = GatewayHttp(
        lambda: FrontParts(GatewayParts(settings, kafka, clickhouse, observed), query),
        observed,
        retry_after_s=settings.retry_after_s,
        end=end.set,
    )
    try:
        code = await serve(LoopbackGuard(Edge({}, http)), host, port, end)
    finally:
        await asyncio.to_thread(query.stop)
    if http.failure is not None:
        raise http.failure
    return code


if __name__ == "__main__":
    sys.exit(main())
