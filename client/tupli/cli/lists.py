"""`tupli benchmarks` and `tupli episodes`."""

from dataclasses import asdict
from typing import Annotated

import typer

import tupli
from tupli.cli.chosen import chosen, parts_of
from tupli.cli.output import JsonFlag, UrlOption, show

BENCHMARK_COLUMNS = {"name": "name", "description": "description", "created_at": "created", "id": "id"}
EPISODE_COLUMNS = {
    "id": "id",
    "status": "status",
    "n_tuples": "steps",
    "return": "return",
    "seed": "seed",
    "policy": "policy",
    "started_at": "started",
    "metadata": "metadata",
}


def benchmarks(url: UrlOption = None, *, as_json: JsonFlag = False) -> None:
    """List the benchmarks that you can see."""
    rows = [asdict(header) for header in tupli.TupliAPIClient(url).list_benchmarks()]
    show(rows, BENCHMARK_COLUMNS, as_json=as_json)


def episodes(
    benchmark: Annotated[str, typer.Argument(help="Name of mine, owner/name, or id.")],
    where: Annotated[
        str | None, typer.Option("--episodes", help="Which: 'return > 100 and policy == \"ppo\"'")
    ] = None,
    order: Annotated[
        str | None, typer.Option("--order", help="Keys, separated by commas: -return,started_at")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 100,
    include: Annotated[
        str | None, typer.Option("--include", help="Also: open,incomplete,conflict,abandoned")
    ] = None,
    url: UrlOption = None,
    *,
    as_json: JsonFlag = False,
) -> None:
    """List the episodes of a benchmark: ended and aborted ones, and others when asked for."""
    data = chosen(benchmark, url=url, include=parts_of(include, "--include"), where=where)
    if keys := parts_of(order, "--order"):
        data = data.order_by(*keys)
    rows = [
        {name.rstrip("_"): value for name, value in asdict(header).items()}  # the words of the filters
        for header in data.limit_episodes(limit).preview()
    ]
    show(rows, EPISODE_COLUMNS, as_json=as_json)
