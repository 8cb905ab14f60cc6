"""What `tupli record` does: a random policy in an environment, until so many episodes are recorded."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from tupli import recording
from tupli.errors import InvalidInput, TupliWarning
from tupli.recording.flush import StreamStatus
from tupli.recording.lifetime import undelivered
from tupli.recording.stream import RecordingStream
from tupli.recording.vector import DISABLED, NEXT_STEP
from tupli.recording.vector_wrapper import mode_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to record: `wait` seconds are given to the server at the end; `autoreset` is of vectors that do not say it."""

    env_id: str
    benchmark: str
    episodes: int
    num_envs: int = 1
    seed: int | None = None
    autoreset: str | None = None
    wait: float = 30.0
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """What was recorded, and of it what the server refused and what is still in the spool."""

    episodes: int
    steps: int
    refused: int
    left: StreamStatus | None


def play(wanted: Wanted, report: Callable[[int], None]) -> Played:
    """Record; `report` is told how many episodes there are.

    Raises:
        InvalidInput: There is no such environment, or it does not say how its slots are reset.
    """
    made = _made(wanted)
    with (
        warnings.catch_warnings(),
        recording.record(
            made,
            wanted.benchmark,
            policy="random",
            url=wanted.url,
            autoreset=wanted.autoreset,
            drain_timeout=wanted.wait,
        ) as env,
    ):
        warnings.filterwarnings(
            "ignore", ".* rows are still in the spool", TupliWarning
        )  # it is in the answer
        if wanted.num_envs == 1:
            episodes, steps = wanted.episodes, _play(env, wanted.episodes, wanted.seed, report)
        else:
            mode = mode_of(made, wanted.autoreset)
            episodes, steps = _play_vector(env, mode, wanted.episodes, wanted.seed, report)
    stream: RecordingStream = env._stream  # noqa: SLF001 - of this package
    refused = 0 if stream.job is None else stream.job.rejected_events
    return Played(episodes, steps, refused, undelivered(stream))


def _made(wanted: Wanted) -> Any:
    try:
        if wanted.num_envs == 1:
            return gym.make(wanted.env_id)
        return gym.make_vec(wanted.env_id, num_envs=wanted.num_envs)
    except gym.error.Error as error:
        raise InvalidInput(str(error), place="ENV_ID") from error
    except Exception as error:
        # An id names a module to import; that and the environment are anybody's code.
        told = f"{wanted.env_id} cannot be made: {type(error).__name__}: {error}"
        raise InvalidInput(told, place="ENV_ID") from error


def _play(env: Any, episodes: int, seed: int | None, report: Callable[[int], None]) -> int:
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


def _play_vector(
    envs: Any, mode: str, episodes: int, seed: int | None, report: Callable[[int], None]
) -> tuple[int, int]:
    """Until so many episodes ended; what is too much then is discarded, so that the number is what was asked for.

    Returns:
        Episodes and their steps.
    """
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
            envs.discard_ended_episode(slot)
        finished += len(kept)
        steps += int(lengths[kept].sum())
        lengths[ended] = 0
        if mode == NEXT_STEP:
            resetting = ended  # the step after an end only resets
        elif mode == DISABLED and ended.any() and finished < episodes:
            envs.reset(options={"reset_mask": ended})
        report(finished)
    envs.discard_episode()
    return finished, steps
