"""`python -m tupli_standalone`: what `tupli up` runs."""

import argparse
import errno
import json
import os
import signal
import socket
import sys
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import uvicorn
from pydantic import ValidationError

from tupli_ingest.adapters.allocators import have_few_arenas
from tupli_ingest.adapters.data_lock import DataDirectoryBusy, DataLock
from tupli_ingest.core.errors import IngestError
from tupli_ingest.logs import adopt_standard_logging, configure_logging
from tupli_ingest.settings import IngestSettings
from tupli_ingest.variables import tell_unknown_variables
from tupli_query.settings import QuerySettings
from tupli_schemas.problems import error_document
from tupli_schemas.variables import wrong_variables
from tupli_standalone.app import build
from tupli_standalone.lean import without_unused
from tupli_standalone.settings import DEFAULT_PORT, RefusedSetting, Settings, default_data_dir

READ: Final = (IngestSettings, QuerySettings)
ELSEWHERE: Final = ("TUPLI_KAFKA_", "TUPLI_CLICKHOUSE_")
"""How the variables begin that are the grown system's and a direct recorder's."""

SWITCH_SECONDS: Final = 0.0005
"""A request is read in many short turns. Each waits so long for a processor that computes (default 0.005)."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RefusedSetting(f"{message}; see tupli up --help")


def parse(arguments: list[str]) -> Settings:
    """The settings of a command line.

    Raises:
        RefusedSetting: They are none.
    """
    parser = _Parser("tupli up", description="Run Tupli in one process, on this machine.")
    parser.add_argument(
        "--data", type=Path, default=default_data_dir(), help="data directory (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port of the loopback interface")
    parser.add_argument("--host", default="127.0.0.1", help="loopback only, until accounts exist")
    parser.add_argument("--log-format", choices=["console", "json"], default="console")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    given = parser.parse_args(arguments)
    return Settings(given.data, given.host, given.port, given.log_format, given.log_level)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; exit code 2 for what cannot start, with the reason on stderr."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        settings = parse(given)
        _make(settings.data)
        configure_logging(form=settings.log_format, level=settings.log_level)
        adopt_standard_logging(form=settings.log_format, level=settings.log_level)
        tell_unknown_variables(os.environ, READ, ELSEWHERE)
        without_unused()
        have_few_arenas()
        sys.setswitchinterval(SWITCH_SECONDS)
        listener = _bound(settings)
        app = build(settings)
    except ValidationError as error:
        return _refused(given, error, wrong_variables(error, READ))
    except (RefusedSetting, DataDirectoryBusy, IngestError, OSError) as error:
        return _refused(given, error, str(error))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=int(settings.stop_timeout),
            server_header=False,
        )
    )
    _end_on_signals(server)
    server.run(sockets=[listener])
    return 0 if server.started else 2


def _make(data: Path) -> None:
    """Make the data directory, where there is none.

    Raises:
        RefusedSetting: It cannot be made.
    """
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        told = f"there can be no data directory {data} ({error.strerror}); choose another with --data or TUPLI_DATA"
        raise RefusedSetting(told) from error


def _refused(arguments: list[str], error: Exception, detail: str) -> int:
    """Tell why it does not start, as every command of `tupli` does where JSON is asked for; the exit code."""
    if "--log-format=json" in arguments or ("--log-format", "json") in pairwise(arguments):
        sys.stderr.write(json.dumps(error_document(error, detail)) + "\n")
    else:
        sys.stderr.write(f"tupli up: {detail}\n")
    return 2


def _bound(settings: Settings) -> socket.socket:
    """A socket that has the address and does not listen yet: nobody connects before there are answers.

    Raises:
        RefusedSetting: Another process listens there.
        DataDirectoryBusy: And has the data directory as well.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            DataLock(settings.data).release()
            raise RefusedSetting(f"port {settings.port} is in use; choose another with --port") from error
        raise
    return listener


def _end_on_signals(server: uvicorn.Server) -> None:
    """SIGTERM and Ctrl-C end the server, and are no failure.

    While it runs uvicorn has handlers of its own; afterwards it raises what it caught once more, for these.
    """

    def end(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


if __name__ == "__main__":
    sys.exit(main())
