"""`tupli benchmarks` and `tupli episodes`."""

from dataclasses import asdict
from itertools import islice
from typing import Annotated

import typer

from tupli.cli.output import JsonFlag, UrlOption, show
from tupli.datasets.tupli_dataset import dataset
from tupli.expressions import parse_expression
from tupli.storage.api import TupliAPIClient

BENCHMARK_COLUMNS = {"name": "name", "description": "description", "created_at": "created", "id": "id"}
EPISODE_COLUMNS = {
    "id": "id",
    "status": "status",
    "n_tuples": "steps",
    "return_": "return",
    "seed": "seed",
    "policy": "policy",
    "started_at": "started",
    "metadata": "metadata",
}


def benchmarks(url: UrlOption = None, *, as_json: JsonFlag = False) -> None:
    """List the benchmarks that you can see."""
    rows = [asdict(header) for header in TupliAPIClient(url).list_benchmarks()]
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
    data = dataset(benchmark, url=url, include=include.split(",") if include else None).limit_episodes(limit)
    if where:
        data = data.with_episode_filter(parse_expression(where))
    if order:
        data = data.order_by(*order.split(","))
    rows = [asdict(header) for header in islice(data.preview(), limit)]
    show(rows, EPISODE_COLUMNS, as_json=as_json)
