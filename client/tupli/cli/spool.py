"""`tupli spool`: what was recorded and not delivered yet, and what never will be."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tupli.cli.output import JsonFlag, UrlOption, count, emit, show
from tupli.errors import TupliError
from tupli.transport.chosen import chosen_transport

if TYPE_CHECKING:
    from tupli.cli.waiting import Waiting
    from tupli.recording.flush import FlushReport

STREAMS = {
    "stream": "stream",
    "benchmark": "benchmark",
    "address": "server",
    "episodes": "episodes",
    "rows": "rows",
    "bytes": "bytes",
    "alive": "recording",
    "problem": "problem",
}
REJECTED = {
    "stream": "stream",
    "events": "events",
    "first": "from",
    "last": "to",
    "code": "problem",
    "detail": "detail",
}
UNPROVEN = {
    "stream": "stream",
    "benchmark": "benchmark",
    "address": "server",
    "rows": "rows",
    "bytes": "bytes",
    "why": "why",
}
DirectoryOption = Annotated[
    Path | None,
    typer.Option("--spool-dir", envvar="TUPLI_SPOOL_DIR", help="The spool's directory.", show_default=False),
]

spool = typer.Typer(help="What was recorded and not delivered yet.", no_args_is_help=True)


@spool.command()
def status(directory: DirectoryOption = None, *, as_json: JsonFlag = False) -> None:
    """Show what is in the spool.

    Streams that wait for `tupli spool flush`; events that the server refused for good, with its reason; and what could
    not be proven whole after the machine was restarted. The last two stay as files until somebody removes them.
    """
    from tupli.recording.flush import status as streams_of  # noqa: PLC0415 - NumPy and Arrow, for those who look
    from tupli.spool.directory import SpoolDirectory  # noqa: PLC0415 -- as above
    from tupli.spool.rejected import rejected  # noqa: PLC0415 -- as above
    from tupli.spool.unproven import unproven  # noqa: PLC0415 -- as above

    root = SpoolDirectory(directory)
    found = {
        "streams": [asdict(stream) for stream in streams_of(root)],
        "rejected": [asdict(events) for events in rejected(root.root / "rejected")],
        "unproven": [asdict(stream) for stream in unproven(root.unproven)],
    }
    if as_json:
        emit(found)
        return
    show(found["streams"], STREAMS, as_json=False)
    for name, columns, title in (
        ("rejected", REJECTED, f"refused by the server, kept in {root.root / 'rejected'}"),
        ("unproven", UNPROVEN, f"not proven whole, kept in {root.unproven}"),
    ):
        if found[name]:
            show(found[name], columns, as_json=False, title=title)


@spool.command()
def flush(directory: DirectoryOption = None, url: UrlOption = None, *, as_json: JsonFlag = False) -> None:
    """Deliver what processes left that run no more, to this server.

    Exit code 0 when the server has all of it (what it refused before, and `status` shows, does not count again; what
    is for other servers is told, and stays); 1 when something stays, was refused now, or could not be proven whole.
    A flush that is cut short says what is delivered by then, and fails.
    """
    from tupli.cli.waiting import cut_short, elsewhere_told, look  # noqa: PLC0415 -- as above
    from tupli.recording.flush import FlushReport, flush_dead  # noqa: PLC0415 -- as above
    from tupli.spool.directory import SpoolDirectory  # noqa: PLC0415 -- as above

    root = SpoolDirectory(directory)
    report = FlushReport()
    with closing(chosen_transport(url=url)) as transport:
        try:
            flush_dead(root, transport, report)
        except (KeyboardInterrupt, TupliError, OSError) as error:
            left = look(root, transport)
            told, line = cut_short(report, left.mine, error, directory)
            lines = [line, *elsewhere_told(left.elsewhere, directory)]
            _print(told, lines, left.elsewhere, as_json=as_json)
            raise
        others = look(root, transport).elsewhere
    steps, streams = count(report.steps, "step"), count(report.streams, "stream")
    first = f"delivered {steps} of {streams}; {count(report.episodes, 'episode')} ended with them"
    _print(asdict(report), [first, *elsewhere_told(others, directory)], others, as_json=as_json)
    if problems := _problems_of(report):
        raise TupliError("; ".join(problems))


def _print(
    report: Mapping[str, Any], lines: Iterable[str], others: Iterable["Waiting"], *, as_json: bool
) -> None:
    if as_json:
        emit({**report, "elsewhere": [asdict(one) for one in others]})
        return
    for line in lines:
        typer.echo(line)


def _problems_of(report: "FlushReport") -> list[str]:
    out = report.problems[:MOST_PROBLEMS]
    if more := len(report.problems) - len(out):
        out.append(f"and {count(more, 'more problem')}")
    if report.rejected:
        out.append(f"the server refused {count(report.rejected, 'event')}, `tupli spool status` shows why")
    if report.left:
        out.append(f"{count(report.left, 'row')} stay in the spool")
    return out


MOST_PROBLEMS = 5
