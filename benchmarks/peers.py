"""What PyTupli and Minari take for the same work. Runs in an environment of its own and prints one JSON object.

python peers.py record FOLDER STEPS
python peers.py load FOLDER PEER
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


def record_minari(folder: pathlib.Path, steps: int, data_format: str) -> dict[str, float]:
    """Recording cost and bytes a step of one of Minari's formats."""
    os.environ["MINARI_DATASETS_PATH"] = str(folder / f"minari-{data_format}")
    env = minari.DataCollector(Synthetic(), data_format=data_format)
    cost = per_step(env, steps)
    env.create_dataset(f"bench/{data_format}-v0")
    size = sum(f.stat().st_size for f in (folder / f"minari-{data_format}").rglob("*") if f.is_file())
    return {"us_per_step": cost, "bytes_per_step": size / steps}


def record_pytupli(folder: pathlib.Path, steps: int) -> dict[str, float]:
    """Recording cost of PyTupli's file storage."""
    env = TupliEnvWrapper(Synthetic(), FileStorage(storage_base_dir=str(folder / "pytupli")))
    env.store(name="bench")
    env.activate_recording()
    return {"us_per_step": per_step(env, steps)}


def load_arrow(folder: pathlib.Path) -> Callable[[], int]:
    """All tuples of the Arrow dataset, as arrays."""
    os.environ["MINARI_DATASETS_PATH"] = str(folder / "minari-arrow")

    def load() -> int:
        dataset = minari.load_dataset("bench/arrow-v0")
        parts = [
            (e.observations[:-1], e.actions, e.rewards, e.terminations, e.truncations)
            for e in dataset.iterate_episodes()
        ]
        arrays = [np.concatenate(part) for part in zip(*parts, strict=True)]
        return len(arrays[0])

    return load


def load_pytupli(folder: pathlib.Path) -> Callable[[], int]:
    """All tuples of PyTupli's file storage, as arrays; a dataset keeps what it has loaded, so each time a new one."""

    def load() -> int:
        dataset = TupliDataset(FileStorage(storage_base_dir=str(folder / "pytupli")))
        dataset.load()
        return len(dataset.convert_to_tensors()[0])

    return load


LOADS = {"minari_arrow": load_arrow, "pytupli": load_pytupli}


def record(folder: pathlib.Path, steps: str) -> dict[str, Any]:
    """What recording costs with each peer; what they recorded stays in the folder."""
    count = int(steps)
    return {
        "bare_us": per_step(Synthetic(), count),
        "episode": EPISODE,
        "minari_hdf5": record_minari(folder, count, "hdf5"),
        "minari_arrow": record_minari(folder, count, "arrow"),
        "pytupli": record_pytupli(folder, min(count, 10_000)),
    }


def load(folder: pathlib.Path, peer: str) -> dict[str, float]:
    """Tuples a second, in this fresh process and again in it."""
    work = LOADS[peer](folder)
    rates = []
    for _ in range(4):
        start = time.perf_counter()
        rows = work()
        rates.append(rows / (time.perf_counter() - start))
    return {"fresh": rates[0], "warm": max(rates[1:])}


def main() -> None:
    """Print the figures."""
    work: dict[str, Callable[[pathlib.Path, str], dict[str, Any]]] = {"record": record, "load": load}
    function, folder, argument = sys.argv[1:]
    sys.stdout.write(json.dumps(work[function](pathlib.Path(folder), argument)) + "\n")


if __name__ == "__main__":
    main()
