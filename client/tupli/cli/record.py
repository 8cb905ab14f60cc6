"""`tupli record`: a random policy in a registered environment."""

from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tupli import recording
from tupli.cli.output import JsonFlag, UrlOption, emit, stderr
from tupli.errors import InvalidInput


def record(
    env_id: Annotated[str, typer.Argument(help="A registered Gymnasium environment, e.g. CartPole-v1.")],
    benchmark: Annotated[
        str, typer.Option("--benchmark", help="Name of the benchmark; created when there is none.")
    ],
    episodes: Annotated[int, typer.Option("--episodes", min=1, help="Episodes to record.")],
    num_envs: Annotated[int, typer.Option("--num-envs", min=1, help="Environments at once.")] = 1,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of environments and actions.")] = None,
    url: UrlOption = None,
    *,
    as_json: JsonFlag = False,
) -> None:
    """Record episodes of a random policy."""
    try:
        env: Any = gym.make(env_id) if num_envs == 1 else gym.make_vec(env_id, num_envs=num_envs)
    except gym.error.Error as error:
        raise InvalidInput(str(error), place="ENV_ID") from error
    columns = (TextColumn("recording"), BarColumn(), MofNCompleteColumn(), TextColumn("episodes"))
    with (
        recording.record(env, benchmark, policy="random", url=url) as env,
        Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar,
    ):
        task = bar.add_task("episodes", total=episodes)
        play = _play if num_envs == 1 else _play_vector
        steps = play(env, episodes, seed, lambda done: bar.update(task, completed=done))
    result = {"benchmark": benchmark, "episodes": episodes, "steps": steps}
    if as_json:
        emit(result)
    else:
        typer.echo(f"{episodes} episodes, {steps} steps in {benchmark}")


def _play(env: Any, episodes: int, seed: int | None, report: Any) -> int:
    env.action_space.seed(seed)
    steps = 0
    for number in range(episodes):
        env.reset(seed=None if seed is None else seed + number)
        done = False
        while not done:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            steps += 1
            done = terminated or truncated
        report(number + 1)
    return steps


def _play_vector(envs: Any, episodes: int, seed: int | None, report: Any) -> int:
    """Until so many episodes ended; what is too much then is discarded, so that the number is what was asked for."""
    envs.action_space.seed(seed)
    envs.reset(seed=seed)
    finished = steps = 0
    lengths = np.zeros(envs.num_envs, int)
    resetting = np.zeros(envs.num_envs, bool)
    while finished < episodes:
        _, _, terminated, truncated, _ = envs.step(envs.action_space.sample())
        ended = np.asarray(terminated) | np.asarray(truncated)
        lengths += ~resetting
        kept, surplus = np.split(np.flatnonzero(ended), [episodes - finished])
        for slot in surplus.tolist():
            envs.discard_episode(slot)
        finished += len(kept)
        steps += int(lengths[kept].sum())
        lengths[ended] = 0
        resetting = ended  # the step after an end only resets
        report(finished)
    envs.discard_episode()
    return steps
