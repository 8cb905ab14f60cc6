"""`tupli record`: a random policy in a registered environment."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tupli.cli.output import JsonFlag, UrlOption, count, emit, stderr
from tupli.errors import TupliError

if TYPE_CHECKING:
    from tupli.cli.playing import Played


def record(  # noqa: PLR0913 -- options of a command
    env_id: Annotated[str, typer.Argument(help="A registered Gymnasium environment, e.g. CartPole-v1.")],
    benchmark: Annotated[
        str, typer.Option("--benchmark", help="Name of the benchmark; created when there is none.")
    ],
    episodes: Annotated[int, typer.Option("--episodes", min=1, help="Episodes to record.")],
    num_envs: Annotated[int, typer.Option("--num-envs", min=1, help="Environments at once.")] = 1,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of environments and actions.")
    ] = None,
    autoreset: Annotated[
        str | None,
        typer.Option(
            "--autoreset", help="How a vector that does not say it resets: next_step, same_step, disabled."
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0.0, help="Seconds to wait at the end until the server has it.")
    ] = 30.0,
    url: UrlOption = None,
    *,
    as_json: JsonFlag = False,
) -> None:
    """Record episodes of a random policy.

    Exit code 0 when the server has all of them. Where it cannot be reached, they stay in the spool and the exit code
    is 1: `tupli spool flush` delivers them.
    """
    from tupli.cli.playing import Wanted, play  # noqa: PLC0415 - Gymnasium, for those who record

    wanted = Wanted(
        env_id=env_id,
        benchmark=benchmark,
        episodes=episodes,
        num_envs=num_envs,
        seed=seed,
        autoreset=autoreset,
        wait=wait,
        url=url,
    )
    columns = (TextColumn("recording"), BarColumn(), MofNCompleteColumn(), TextColumn("episodes"))
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("episodes", total=episodes)
        played = play(wanted, lambda done: bar.update(task, completed=done))
    if as_json:
        emit({"benchmark": benchmark} | asdict(played))
    else:
        where = f" in {benchmark}" if played.left is None else ""
        typer.echo(f"{count(played.episodes, 'episode')}, {count(played.steps, 'step')}{where}")
    if played.left is not None or played.refused:
        raise TupliError(_told(played))


def _told(played: "Played") -> str:
    """What the server does not have, and what to do about it."""
    left = played.left
    if left is None:
        return f"the server refused {count(played.refused, 'event')}; `tupli spool status` shows why"
    why = f" ({left.problem})" if left.problem else ""
    return (
        f"the server does not have all of it{why}: {left.episodes} of {count(played.episodes, 'episode')} "
        f"({left.rows} rows) are in the spool; deliver them with: tupli spool flush --url {left.address}"
    )
