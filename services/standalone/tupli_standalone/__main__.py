"""`python -m tupli_standalone`: what `tupli up` runs."""

import argparse
import sys
from pathlib import Path

import uvicorn
from pydantic import ValidationError

from tupli_ingest.adapters.data_lock import DataDirectoryBusy
from tupli_ingest.core.errors import IngestError
from tupli_ingest.logs import configure_logging
from tupli_standalone.app import build
from tupli_standalone.settings import DEFAULT_PORT, RefusedSetting, Settings, default_data_dir


def parse(arguments: list[str]) -> Settings:
    """The settings of a command line."""
    parser = argparse.ArgumentParser("tupli up", description="Run Tupli in one process, on this machine.")
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
    try:
        settings = parse(sys.argv[1:] if arguments is None else arguments)
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        configure_logging(form=settings.log_format, level=settings.log_level)
        app = build(settings)
    except (RefusedSetting, DataDirectoryBusy, IngestError, ValidationError, OSError) as error:
        sys.stderr.write(f"tupli up: {error}\n")
        return 2
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
    server.run()
    return 0 if server.started else 2


if __name__ == "__main__":
    sys.exit(main())
