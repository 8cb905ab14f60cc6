"""`tupli pull`: a filtered dataset into a file."""

from pathlib import Path
from typing import Annotated

import typer

from tupli.cli.output import JsonFlag, UrlOption, emit
from tupli.datasets import dataset
from tupli.errors import InvalidInput
from tupli.export import export
from tupli.expressions import parse_expression

BATCH = 65_536


def pull(
    benchmark: Annotated[str, typer.Argument(help="Name of mine, owner/name, or id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="FILE.parquet, .arrow, .npz or .csv")],
    episodes: Annotated[str | None, typer.Option("--episodes", help="Which episodes: 'return > 100'")] = None,
    tuples: Annotated[
        str | None, typer.Option("--tuples", help="Which tuples: 'reward > 0.5 and observation[0] < 0'")
    ] = None,
    columns: Annotated[str | None, typer.Option("--columns", help="Columns, separated by commas.")] = None,
    include: Annotated[
        str | None, typer.Option("--include", help="Also these statuses: open,incomplete,conflict")
    ] = None,
    url: UrlOption = None,
    *,
    as_json: JsonFlag = False,
) -> None:
    """Write the tuples that two filters choose into a file; the file appears only when it is complete."""
    if not output.parent.is_dir():
        raise InvalidInput(f"the folder {output.parent} does not exist", place="--output")
    data = dataset(benchmark, url=url, include=_split(include))
    if episodes:
        data = data.with_episode_filter(parse_expression(episodes))
    if tuples:
        data = data.with_tuple_filter(parse_expression(tuples))
    rows = export(data.batches(BATCH, columns=_split(columns)), output)
    result = {"rows": rows, "file": str(output), "bytes": output.stat().st_size}
    if as_json:
        emit(result)
    else:
        typer.echo(f"{rows} tuples in {output} ({result['bytes']} bytes)")


def _split(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",")] if text else None
