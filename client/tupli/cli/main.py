"""The command line's composition: commands, their second spellings, and the one place where errors become exit codes."""

import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

import tupli
from tupli.cli import lists, pull, record, server
from tupli.cli.dead_letters import dead_letters
from tupli.cli.output import emit, stderr, tell_program, wants_json
from tupli.cli.spool import spool
from tupli.errors import TupliError
from tupli_schemas.errors import ContractError
from tupli_schemas.problems import error_document

_UsageError: Any = typer.BadParameter.__mro__[1]
"""What Typer raises for a command line that is none; it has no public name there."""

app = typer.Typer(
    name="tupli",
    help="Record environments live, step by step, and pull back exactly the tuples you asked for.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(spool, name="spool")
app.add_typer(dead_letters, name="dead-letters")
_COMMANDS: tuple[tuple[Callable[..., Any], tuple[str, ...]], ...] = (
    # The first name is shown; the others are the seed's spellings.
    (server.up, ("up",)),
    (record.record, ("record",)),
    (pull.pull, ("pull",)),
    (lists.benchmarks, ("benchmarks", "list_benchmarks", "list-benchmarks")),
    (lists.episodes, ("episodes", "list_episodes", "list-episodes")),
    (server.rebuild, ("rebuild",)),
    (server.admin, ("admin",)),
)
for _command, (_name, *_others) in _COMMANDS:
    app.command(_name)(_command)
    for _other in _others:
        app.command(_other, hidden=True)(_command)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 -- Typer calls it with the value of the flag
    if wanted:
        if wants_json():
            emit({"version": tupli.__version__})
        else:
            typer.echo(f"tupli {tupli.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the version as JSON.")] = False,
) -> None:
    """Record environments live, step by step, and pull back exactly the tuples you asked for."""


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,  # noqa: ARG001 -- as Python calls it
    lineno: int,  # noqa: ARG001 -- as above
    file: Any = None,  # noqa: ARG001 -- as above
    line: str | None = None,  # noqa: ARG001 -- as above
) -> None:
    """A warning, as people read it: where in the code it was told is nothing to them. Behind `--json` a line of it."""
    if wants_json():
        tell_program({"warning": {"type": category.__name__, "detail": str(message)}})
        return
    stderr.print("[bold yellow]warning[/] ", end="")
    stderr.print(str(message), markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line, and exit: 1 for what did not work, 2 for what is no command of ours.

    The reason is on stderr, behind `--json` as JSON on the last line (each warning is a line before it).
    """
    warnings.showwarning = _warn
    try:
        sys.exit(_run_for_programs() if wants_json() else app())
    except (TupliError, ContractError, OSError) as error:
        if wants_json():
            tell_program(error_document(error, str(error)))
        else:
            stderr.print(f"[bold red]error[/] {type(error).__name__}: ", end="")
            stderr.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except Exception as error:
        if not wants_json():
            raise
        tell_program(error_document(error, str(error), traceback=traceback.format_exc()))
        sys.exit(1)


def _run_for_programs() -> int:
    """Run the command line; its exit code. Typer would draw a box around what is wrong with it."""
    try:
        return app(standalone_mode=False) or 0
    except _UsageError as error:
        tell_program(error_document(error, error.format_message()))
        return 2
    except typer.Abort as error:
        tell_program(error_document(error, "aborted"))
        return 1


if __name__ == "__main__":
    main()
