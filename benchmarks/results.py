"""One measured figure, the table of them, and the file they are written to."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True, slots=True)
class Result:
    """A figure and what it is held against.

    `ratio` is value over peer where there is one; `goal` says the bound in words, `holds` whether it is kept.
    """

    name: str
    value: float
    unit: str
    peer: str
    ratio: float | None
    goal: str
    holds: bool


def at_most(name: str, value: float, unit: str, limit: float, peer: str = "limit") -> Result:
    """A figure that must not be above `limit`."""
    return Result(name, value, unit, peer, value / limit, f"<= {limit:g} {unit}", value <= limit)


def at_least(name: str, value: float, unit: str, limit: float, peer: str = "limit") -> Result:
    """A figure that must not be below `limit`."""
    return Result(name, value, unit, peer, value / limit, f">= {limit:g} {unit}", value >= limit)


def times_better(name: str, ours: float, theirs: float, unit: str, factor: float, peer: str) -> Result:
    """Ours against a peer's figure of the same run, where more is better."""
    ratio = ours / theirs
    return Result(
        name, ours, unit, f"{peer} {theirs:.4g} {unit}", ratio, f">= {factor:g} x {peer}", ratio >= factor
    )


def times_cheaper(name: str, ours: float, theirs: float, unit: str, factor: float, peer: str) -> Result:
    """Ours against a peer's figure of the same run, where less is better."""
    ratio = theirs / ours if ours > 0 else float("inf")
    goal = f"{factor:g} x cheaper than {peer}"
    return Result(name, ours, unit, f"{peer} {theirs:.4g} {unit}", ratio, goal, ratio >= factor)


def show(results: Sequence[Result], *, path: Path = RESULTS, title: str = "benchmarks") -> None:
    """Print the table, and write the file that `.gitignore` names."""
    table = Table(title=title)
    for heading in ("name", "value", "unit", "against", "ratio", "goal", "holds"):
        table.add_column(heading, justify="right" if heading in {"value", "ratio"} else "left")
    for result in results:
        ratio = "" if result.ratio is None else f"{result.ratio:.3g}"
        holds = "yes" if result.holds else "[bold red]NO[/]"
        table.add_row(result.name, f"{result.value:.4g}", result.unit, result.peer, ratio, result.goal, holds)
    Console(width=170).print(table)
    path.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
