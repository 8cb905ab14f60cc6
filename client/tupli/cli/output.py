"""How commands answer: tables for people, JSON for programs, both on stdout; everything else on stderr."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="Server address.", envvar="TUPLI_URL", show_default=False)
]

stderr = Console(stderr=True)


def show(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, as_json: bool, title: str = ""
) -> None:
    """Print rows as a table of `columns` (member -> heading), or whole as one JSON list."""
    if as_json:
        emit(list(rows))
        return
    table = Table(title=title or None, box=box.SIMPLE, pad_edge=False)
    for name, heading in columns.items():
        table.add_column(heading, no_wrap=name in _WHOLE or name.endswith("_at"))
    for row in rows:
        table.add_row(
            *(_instant(row.get(name)) if name.endswith("_at") else cell(row.get(name)) for name in columns)
        )
    Console(width=None if sys.stdout.isatty() else 200).print(table)


_WHOLE: Final = frozenset({"id", "stream", "status", "name"})
"""Columns that are of no use in part."""


def _instant(value: Any) -> str:
    """An ISO 8601 time to the second, in UTC as the server tells it."""
    return value[:19].replace("T", " ") if isinstance(value, str) else cell(value)


def emit(value: Any) -> None:
    """Print one JSON document."""
    typer.echo(json_text(value, option=orjson.OPT_INDENT_2))


def say(text: str) -> None:
    """Print a line; what no encoding has (bytes of a file's name that are no text) as escapes."""
    typer.echo(text.encode("utf-8", "backslashreplace").decode())


def json_text(value: Any, *, option: int = 0) -> str:
    """JSON; a text that is no Unicode (a file's name may be none) is escaped as Python's `json` reads it back."""
    try:
        return orjson.dumps(value, default=str, option=option | orjson.OPT_SERIALIZE_NUMPY).decode()
    except TypeError:
        return json.dumps(value, default=str, indent=2 if option & orjson.OPT_INDENT_2 else None)


def tell_program(document: Mapping[str, Any]) -> None:
    """One line of JSON on stderr: what a program is told beside its answer."""
    sys.stderr.write(json_text(document) + "\n")


def wants_json() -> bool:
    """Whether the command line asks for JSON, which holds for what goes wrong as well."""
    return "--json" in sys.argv


def count(number: int, word: str) -> str:
    """A number of things, in words."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def cell(value: Any) -> str:
    """A value as people read it in a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={cell(member)}" for key, member in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(cell(member) for member in value)
    return str(value)
