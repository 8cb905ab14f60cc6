"""`tupli dead-letters`: what the server took and could not process, and how to have it processed once more."""

from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any

import typer

from tupli.cli.output import JsonFlag, UrlOption, cell, count, emit, show, stderr
from tupli.errors import InvalidInput, TupliError
from tupli.transport import HttpTransport

COLUMNS = {
    "index": "index",
    "code": "code",
    "stream": "stream",
    "place": "place",
    "kept_at": "kept",
    "size": "bytes",
    "reason": "reason",
}
REPLAYED = {"index": "index", "place": "now at"}
SKIPPED = {"index": "index", "reason": "why"}
INDEXES = 1_000
"""So many indexes go in one request."""

dead_letters = typer.Typer(help="What the server could not process.", no_args_is_help=True)


@dead_letters.command("list")
def list_(
    after: Annotated[int | None, typer.Option("--after", min=0, help="Go on behind this index.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many at most.")] = 100,
    url: UrlOption = None,
    *,
    as_json: JsonFlag = False,
) -> None:
    """List dead letters, the oldest first."""
    with closing(HttpTransport(url)) as transport:
        page = transport.dead_letters(after=after, limit=limit)
    if as_json:
        emit(page)
        return
    show([with_place(letter) for letter in page["letters"]], COLUMNS, as_json=False)
    if hint := more_of(page):
        stderr.print(hint, markup=False, highlight=False, soft_wrap=True)


@dead_letters.command("show")
def show_(
    index: Annotated[int, typer.Argument(min=0, help="As `list` tells it.")],
    url: UrlOption = None,
    *,
    as_json: JsonFlag = False,
) -> None:
    """Show one dead letter, and what can be read of its record."""
    with closing(HttpTransport(url)) as transport:
        letter = transport.dead_letter(index)
    if as_json:
        emit(letter)
        return
    show(lines_of(letter), {"name": "", "value": ""}, as_json=False)


@dead_letters.command()
def replay(
    indexes: Annotated[list[int] | None, typer.Argument(min=0, help="As `list` tells them.")] = None,
    code: Annotated[str | None, typer.Option("--code", help="All with this code.")] = None,
    url: UrlOption = None,
    *,
    as_json: JsonFlag = False,
) -> None:
    """Append the records of dead letters to the log again, as they were.

    To replay one twice is harmless: the first row of a step wins. What fails again is a new dead letter. Exit code 1
    when one has no record that could be appended.
    """
    if bool(indexes) == bool(code):
        raise InvalidInput("name either indexes or --code", place="replay")
    replayed: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    with closing(HttpTransport(url)) as transport:
        given = indexes or []
        asked: dict[str, Any] | None = {"code": code} if code else {"indexes": given[:INDEXES]}
        while asked is not None:
            answer = transport.replay_dead_letters(asked)
            replayed += answer["replayed"]
            skipped += answer["skipped"]
            asked, given = following(asked, answer, given)
    if as_json:
        emit({"replayed": replayed, "skipped": skipped})
    else:
        show([with_place(letter) for letter in replayed], REPLAYED, as_json=False)
        if skipped:
            show(skipped, SKIPPED, as_json=False, title="not replayed")
    if skipped:
        raise TupliError(f"{count(len(skipped), 'dead letter')} could not be replayed")


def following(
    asked: Mapping[str, Any], answer: Mapping[str, Any], given: list[int]
) -> tuple[dict[str, Any] | None, list[int]]:
    """The next request and the indexes that it begins with; None when all is done."""
    if "code" in asked:
        goes_on = answer["after"] is not None
        return ({**asked, "after": answer["after"], "until": answer["until"]} if goes_on else None), given
    rest = given[INDEXES:]
    return ({"indexes": rest[:INDEXES]} if rest else None), rest


def with_place(letter: Mapping[str, Any]) -> dict[str, Any]:
    """A letter with the place of its record in one word: topic/partition@offset."""
    position = letter["position"]
    return {**letter, "place": f"{letter['topic']}/{position['partition']}@{position['offset']}"}


def more_of(page: Mapping[str, Any]) -> str:
    """What to write for the next page; empty when there is none."""
    if not page["letters"] or page["after"] >= page["newest"]:
        return ""
    return f"more: tupli dead-letters list --after {page['after']}"


def lines_of(letter: Mapping[str, Any]) -> list[dict[str, str]]:
    """A letter as names and values, with the parts of its record behind it."""
    record = letter.get("record")
    lines = {
        name: letter.get(name)
        for name in ("index", "code", "reason", "stream", "topic", "position", "kept_at")
    }
    if record is None:
        lines["record"] = "(the log does not have it any more)"
    else:
        parts = {name: value for name, value in record.items() if name not in ("members", "envelope")}
        for group in ("envelope", "members"):
            parts |= {f"{group}.{name}": value for name, value in record.get(group, {}).items()}
        lines |= parts
    return [{"name": name, "value": cell(value)} for name, value in lines.items()]
