"""A vector is recorded while its server dies again and again; a spool's disk is full."""

import json
import os
import random
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import tupli
from support import processes
from support.actor import EPISODE, Walk
from support.loop_oracle import recorded_runs
from support.server_process import ServerProcess
from support.tiny_server import tiny_server
from tupli.recording.flush import status

SLOTS = 3


def check_slot(name: str, url: str, slot: int, steps: int) -> None:
    """A slot's environment took all actions but those that its resets ignored, each once."""
    data = tupli.dataset(name, url=url).with_episode_filter(tupli.F("slot") == slot)
    episodes = list(data.iter_episodes())
    taken = [action for action in range(steps) if action % (EPISODE + 1) != EPISODE]
    np.testing.assert_array_equal(np.concatenate([episode.actions for episode in episodes]), taken)
    for number, episode in enumerate(episodes, start=1):
        expected = [[slot, number, count] for count in range(len(episode) + 1)]
        np.testing.assert_array_equal(episode.observations, expected)
        np.testing.assert_array_equal(episode.rewards, episode.actions)
        last = number < len(episodes) or len(episode) == EPISODE
        assert episode.header.status == ("truncated" if last else "aborted")


@pytest.mark.timeout(180)
def test_a_vector_loses_and_doubles_nothing_when_its_server_is_killed(tmp_path: Path) -> None:
    rng = random.Random(7)
    mode = gym.vector.AutoresetMode.NEXT_STEP
    envs = gym.vector.SyncVectorEnv([partial(Walk, slot) for slot in range(SLOTS)], autoreset_mode=mode)
    done = 0
    with ServerProcess(tmp_path / "data") as server:
        spool = tmp_path / "spool"
        with tupli.record(envs, "walk", url=server.url, spool_dir=spool, drain_timeout=60) as recorded:
            recorded.reset()
            for pause in (rng.uniform(0.1, 0.5), rng.uniform(0.5, 2), rng.uniform(2, 4)):
                end = time.monotonic() + pause
                while time.monotonic() < end or done % 10:
                    recorded.step(np.full(SLOTS, done))
                    done += 1
                    time.sleep(0.001)
                server.kill()
                for _ in range(100):
                    recorded.step(np.full(SLOTS, done))
                    done += 1
                server.start(wait=False)
        assert status(spool) == []
        for slot in range(SLOTS):
            check_slot("walk", server.url, slot, done)
        headers = tupli.dataset("walk", url=server.url).including("open", "incomplete", "conflict").preview()
        ignored = done // (EPISODE + 1)
        assert headers.n_tuples == SLOTS * (done - ignored)


def test_a_spool_whose_disk_is_full(tmp_path: Path) -> None:
    """The run goes on, `close` says so, and what was recorded before is delivered by a later process."""
    spool, goes_on = tmp_path / "spool", tmp_path / "goes-on"
    spool.mkdir()
    with tiny_server() as server:
        server.fault = "unavailable"
        bodies = [
            f"{sys.executable} {processes.__file__} {body.__name__} {server.url} {spool}"
            for body in (processes.on_a_small_disk, processes.deliver)
        ]
        wait = f"while [ ! -e {goes_on} ]; do sleep 0.05; done"
        script = f"mount -t tmpfs -o size=24m tmpfs {spool} && {bodies[0]} && {wait} && {bodies[1]}"
        path = os.pathsep.join([str(Path(processes.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        with subprocess.Popen(
            ["unshare", "-Urm", "sh", "-c", script],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            first = process.stdout.readline()
            server.fault = ""
            goes_on.touch()
            said, flushed = json.loads(first or "{}"), json.loads(process.stdout.readline() or "{}")
            assert process.wait(60) == 0, process.stderr.read()
        assert flushed == {"left": 0, "problems": []}
    assert 100 < said["full"] < said["steps"] == said["full"] + 1_000
    assert "spool was full" in said["told"][0]
    assert any("recording stopped" in text and "full" in text for text in said["told"][1:])
    runs = recorded_runs(server.kept.events)
    actions = [int(action) for run in runs for action in run.actions]
    assert actions == list(range(len(actions)))
    assert said["full"] - 1 <= len(actions) <= said["full"]
    for run in runs:
        counts = [int(np.unique(observation).item()) for observation in run.observations]
        assert counts == list(range(len(run.actions) + 1))
        assert run.rewards == run.actions
    ends = [run.end for run in runs if run.end is not None]
    assert len(ends) == len(runs)
    assert [end.reason for end in ends if end.aborted] in (["spool full"], [])
