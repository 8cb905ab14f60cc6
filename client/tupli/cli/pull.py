"""`tupli pull`: a filtered dataset into a file."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tupli
from tupli.cli.chosen import chosen, parts_of
from tupli.cli.output import JsonFlag, UrlOption, emit, say
from tupli.errors import InvalidInput

if TYPE_CHECKING:
    from tupli import TupliDataset

BATCH = 65_536


def pull(
    benchmark: Annotated[str, typer.Argument(help="Name of mine, owner/name, or id.")],
    output: Annotated[str, typer.Option("--output", "-o", help="FILE.parquet, .arrow, .npz or .csv")],
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
    file = _file(output)
    data = chosen(benchmark, url=url, include=parts_of(include, "--include"), where=episodes)
    if tuples is not None:
        data = data.with_tuple_filter(tupli.expressions.parse_expression(tuples))
    rows = tupli.export.export(_batches(data, parts_of(columns, "--columns")), file)
    result = {"rows": rows, "file": str(file), "bytes": file.stat().st_size}
    if as_json:
        emit(result)
    else:
        say(f"{rows} tuples in {file} ({result['bytes']} bytes)")


def _file(output: str) -> Path:
    """The file to write.

    Raises:
        InvalidInput: It is a folder, or in one that does not exist.
    """
    file = Path(output)
    if file.is_dir() or output.endswith(os.sep):
        raise InvalidInput(
            f"{output} is a folder: name a file in it, such as tuples.parquet", place="--output"
        )
    if not file.parent.is_dir():
        raise InvalidInput(f"the folder {file.parent} does not exist", place="--output")
    return file


def _batches(data: "TupliDataset", columns: list[str] | None) -> Iterator[dict[str, Any]]:
    """At least one batch: a file without rows has its columns, too."""
    batches = iter(data.batches(BATCH, columns=columns))
    first = next(batches, None)
    yield data.to_numpy(columns) if first is None else first
    yield from batches
