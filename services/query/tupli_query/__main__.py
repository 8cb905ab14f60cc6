"""`python -m tupli_query`: the query service over a ClickHouse server, as a process of its own."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

import uvicorn
from pydantic import ValidationError

from tupli_query.adapters.clickhouse_reader import ClickHouseConnection
from tupli_query.app import build_over_http
from tupli_query.logs import configure_logging
from tupli_query.settings import QuerySettings
from tupli_schemas.addresses import port
from tupli_schemas.variables import unknown_variables, variables_of, wrong_variables

STOP_SECONDS: Final = 10
READ: Final = (QuerySettings, ClickHouseConnection)
ELSEWHERE: Final = ("TUPLI_INGEST_", "TUPLI_KAFKA_", "TUPLI_CLICKHOUSE_READER_")
"""How the variables begin that other services read."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until it is asked to end; 0 then, 2 for what cannot start, with the reason on stderr."""
    parser = argparse.ArgumentParser("tupli_query", description="The query service of a Tupli deployment.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=port, default=8082)
    given = parser.parse_args(arguments)
    try:
        settings = QuerySettings()
        configure_logging(form=settings.log_format, level=settings.log_level)
        _tell_unknown_variables()
        clickhouse = ClickHouseConnection.from_environment()
        parts = build_over_http(settings, clickhouse)
    except ValidationError as error:
        sys.stderr.write(f"tupli_query: {wrong_variables(error, READ)}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"tupli_query: {error}\n")
        return 2
    server = uvicorn.Server(
        uvicorn.Config(
            parts.app,
            host=given.host,
            port=given.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=STOP_SECONDS,
            server_header=False,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises it once more when it has ended
    try:
        server.run()
    finally:
        parts.stop()
    return 0 if server.started else 2


def _tell_unknown_variables() -> None:
    """Warn of each variable of ours that nobody reads; never of what it holds."""
    by_class = (variables_of(one.model_config["env_prefix"], one.model_fields) for one in READ)
    known = set().union(*by_class)
    for name, nearest in unknown_variables(os.environ, known, ELSEWHERE).items():
        logging.getLogger("tupli_query").warning(
            "unknown variable", extra={"variable": name, "nearest": nearest, "told": "nothing reads it"}
        )


if __name__ == "__main__":
    sys.exit(main())
