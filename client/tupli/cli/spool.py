"""`tupli spool`: what was recorded and not delivered yet."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tupli.cli.output import JsonFlag, UrlOption, emit, show
from tupli.errors import TupliError
from tupli.recording.flush import flush_dead
from tupli.recording.flush import status as spool_status
from tupli.transport import HttpTransport

COLUMNS = {
    "stream": "stream",
    "benchmark": "benchmark",
    "address": "server",
    "rows": "rows",
    "bytes": "bytes",
    "alive": "recording",
    "problem": "problem",
}
DirectoryOption = Annotated[
    Path | None,
    typer.Option("--spool-dir", envvar="TUPLI_SPOOL_DIR", help="The spool's directory.", show_default=False),
]

spool = typer.Typer(help="What was recorded and not delivered yet.", no_args_is_help=True)


@spool.command()
def status(directory: DirectoryOption = None, *, as_json: JsonFlag = False) -> None:
    """Show the streams that wait in the spool."""
    show([asdict(stream) for stream in spool_status(directory)], COLUMNS, as_json=as_json)


@spool.command()
def flush(directory: DirectoryOption = None, url: UrlOption = None, *, as_json: JsonFlag = False) -> None:
    """Deliver what processes left that run no more; exit code 1 when something stays."""
    report = flush_dead(directory, HttpTransport(url))
    if as_json:
        emit(asdict(report))
    else:
        typer.echo(f"{report.rows} rows of {report.streams} streams delivered")
    if report.left or report.problems:
        raise TupliError(
            "; ".join(
                [*report.problems, f"{report.left} rows stay in the spool"]
                if report.left
                else report.problems
            )
        )
