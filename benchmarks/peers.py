"""What PyTupli and Minari take for the same work. Runs in an environment of its own and prints one JSON object.

python peers.py FOLDER STEPS
"""

import json
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import minari
import numpy as np
from pytupli.benchmark import TupliEnvWrapper
from pytupli.dataset import TupliDataset
from pytupli.storage import FileStorage

from synthetic import ACTION, EPISODE, Synthetic


def per_step(env: gym.Env[Any, Any], steps: int) -> float:
    """Microseconds a step of an ordinary loop."""
    env.reset(seed=0)
    start = time.perf_counter()
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(ACTION)
        if terminated or truncated:
            env.reset()
    return (time.perf_counter() - start) / steps * 1e6


def timed(work: Callable[[], int]) -> float:
    """Things a second."""
    start = time.perf_counter()
    return work() / (time.perf_counter() - start)


def minari_figures(folder: pathlib.Path, steps: int, data_format: str) -> dict[str, float]:
    """Recording cost, loading rate and bytes a step of one of Minari's formats."""
    os.environ["MINARI_DATASETS_PATH"] = str(folder / f"minari-{data_format}")
    env = minari.DataCollector(Synthetic(), data_format=data_format)
    cost = per_step(env, steps)
    dataset = env.create_dataset(f"bench/{data_format}-v0")
    dataset = minari.load_dataset(f"bench/{data_format}-v0")

    def load() -> int:
        parts = [
            (e.observations[:-1], e.actions, e.rewards, e.terminations, e.truncations)
            for e in dataset.iterate_episodes()
        ]
        arrays = [np.concatenate(part) for part in zip(*parts, strict=True)]
        return len(arrays[0])

    rate = timed(load)
    size = sum(f.stat().st_size for f in (folder / f"minari-{data_format}").rglob("*") if f.is_file())
    return {"us_per_step": cost, "load_per_s": rate, "bytes_per_step": size / steps}


def pytupli_figures(folder: pathlib.Path, steps: int) -> dict[str, float]:
    """Recording cost and loading rate of PyTupli's file storage."""
    storage = FileStorage(storage_base_dir=str(folder / "pytupli"))
    env = TupliEnvWrapper(Synthetic(), storage)
    env.store(name="bench")
    env.activate_recording()
    cost = per_step(env, steps)

    def load() -> int:
        dataset = TupliDataset(storage)
        dataset.load()
        return len(dataset.convert_to_tensors()[0])

    return {"us_per_step": cost, "load_per_s": timed(load)}


def main() -> None:
    """Print the figures of all peers."""
    folder, steps = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    bare = per_step(Synthetic(), steps)
    figures: dict[str, Any] = {"bare_us": bare, "episode": EPISODE}
    figures["minari_hdf5"] = minari_figures(folder, steps, "hdf5")
    figures["minari_arrow"] = minari_figures(folder, steps, "arrow")
    figures["pytupli"] = pytupli_figures(folder, min(steps, 10_000))
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
