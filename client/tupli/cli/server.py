"""`tupli up`, `tupli rebuild` and `tupli admin`."""

import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tupli.cli.output import JsonFlag, UrlOption, emit, stderr
from tupli.errors import InvalidInput, TupliError
from tupli.transport import HttpTransport

POLL_SECONDS = 0.2
TELL_SECONDS = 5.0
"""How often the progress of a rebuild is told where there is no terminal to draw it on."""


def up(
    data: Annotated[Path | None, typer.Option("--data", help="Data directory.")] = None,
    port: Annotated[int, typer.Option("--port", help="Port of the loopback interface.")] = 8080,
    host: Annotated[str, typer.Option("--host", help="Loopback only, until accounts exist.")] = "127.0.0.1",
    log_format: Annotated[str, typer.Option("--log-format", help="console or json.")] = "console",
    log_level: Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")] = "info",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --log-format json.")] = False,
) -> None:
    """Run Tupli in one process, on this machine, until Ctrl-C or SIGTERM."""
    if importlib.util.find_spec("tupli_standalone") is None or importlib.util.find_spec("chdb") is None:
        raise TupliError("the server is not installed; install it with: pip install 'tupli[server]'")
    command = [
        sys.executable,
        "-m",
        "tupli_standalone",
        "--port",
        str(port),
        "--host",
        host,
        "--log-format",
        "json" if as_json else log_format,
        "--log-level",
        log_level,
    ]
    if data is not None:
        command += ["--data", str(data)]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 -- the server takes over this process, with its signals


ADMIN_COMMANDS = ("create-topics", "migrate", "grant-key", "grant")


def admin(
    command: Annotated[str, typer.Argument(help=f"One of {', '.join(ADMIN_COMMANDS)}.")],
    options: Annotated[list[str] | None, typer.Argument(help="Its options, behind `--`.")] = None,
    *,
    as_json: JsonFlag = False,
) -> None:
    """Prepare a deployment over Kafka and ClickHouse: `create-topics` makes its topics, `migrate` its tables.

    `grant-key` makes a key of the deployment, and `grant` signs with it what lets a recorder write straight to Kafka.
    Where the brokers and the server are is said by `TUPLI_KAFKA_...` and `TUPLI_CLICKHOUSE_...`.
    """
    if command not in ADMIN_COMMANDS:
        raise InvalidInput(f"{command!r} is none of {', '.join(ADMIN_COMMANDS)}", place="command")
    if importlib.util.find_spec("tupli_ingest") is None or importlib.util.find_spec("aiokafka") is None:
        raise TupliError(
            "the services are not installed; install them with: pip install 'tupli[server,kafka]'"
        )
    sys.stdout.flush()
    form = ["--json"] if as_json else []
    arguments = [sys.executable, "-m", "tupli_ingest", *form, command, *(options or ())]
    os.execv(sys.executable, arguments)  # noqa: S606 -- it takes over this process, with its exit code


def rebuild(url: UrlOption = None, *, as_json: JsonFlag = False) -> None:
    """Fill a new store from the log while the old one serves, then switch to it."""
    transport = HttpTransport(url)
    transport.start_rebuild()
    state = transport.rebuild_state()
    with Progress(
        TextColumn("rebuild"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
    ) as progress:
        task = progress.add_task("records", total=None)
        told = time.monotonic()
        while state.get("state") == "running":
            time.sleep(POLL_SECONDS)
            state = transport.rebuild_state()
            if not stderr.is_terminal and time.monotonic() - told >= TELL_SECONDS and "end" in state:
                told = time.monotonic()
                rate = f"{state.get('rate', 0.0):,.0f} a second"
                typer.echo(f"rebuild: {state['offset']:,} of {state['end']:,} records, {rate}", err=True)
            progress.update(
                task, completed=int(state.get("offset", 0)), total=int(state.get("end", 0)) or None
            )
    if state.get("state") != "done":
        raise TupliError(
            f"the rebuild ended as {state.get('state')}: {state.get('reason', 'no reason given')}"
        )
    if as_json:
        emit(state)
    else:
        typer.echo(f"generation {state.get('generation')} serves")
