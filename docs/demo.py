"""The tour (`make demo`): record CartPole, kill a recorder on the way, pull two filters, check every number.

It starts a server of its own on a temporary folder and ends it again. What the environment produced is collected
a second time by a plain loop with the same seeds and actions, and compared bit for bit.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

import tupli
from tupli import F

EPISODES = 20
SLOTS = 8
VECTOR_STEPS = 200
KILLED_AFTER = 60

console = Console()


@dataclass
class Run:
    """One episode as a plain loop sees it."""

    observations: list[Any] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: bool = False


def main() -> int:
    """Run the tour; 0 when every check held."""
    with tempfile.TemporaryDirectory(prefix="tupli-demo-") as folder:
        data = Path(folder)
        url = f"http://127.0.0.1:{_free_port()}"
        os.environ |= {"TUPLI_URL": url, "TUPLI_SPOOL_DIR": str(data / "spool"), "NO_PROXY": "127.0.0.1"}
        server = _start_server(data / "server", url)
        try:
            return tour()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=30)


def tour() -> int:
    """Record, kill, pull and check, at the server in `TUPLI_URL`; 0 when every check held."""
    console.rule("record: one environment")
    singles = [record_single(seed) for seed in range(EPISODES)]
    console.print(f"{EPISODES} episodes, {sum(len(run.actions) for run in singles)} steps")
    console.rule(f"record: {SLOTS} environments at once")
    steps = record_vector()
    console.print(f"{steps} transitions")
    console.rule("kill -9 a recorder in the middle of an episode")
    survived = kill_a_recorder()
    console.rule("pull")
    checks = [survived, *check_episode_filter(singles), check_tuple_filter(singles)]
    table = Table("what", "expected", "came back", "same")
    for what, expected, got, same in checks:
        table.add_row(what, str(expected), str(got), "[green]yes[/]" if same else "[red]NO[/]")
    console.print(table)
    return 0 if all(same for *_, same in checks) else 1


Check = tuple[str, Any, Any, bool]


def record_single(seed: int) -> Run:
    """Record one seeded episode, and collect the same one without us."""
    with tupli.record(gym.make("CartPole-v1"), "cartpole", policy="random") as env:
        play(env, seed)
    return play(gym.make("CartPole-v1"), seed)


def play(env: gym.Env[Any, Any], seed: int) -> Run:
    """An ordinary loop with seeded actions."""
    run = Run()
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    run.observations.append(observation)
    done = False
    while not done:
        action = env.action_space.sample()
        observation, reward, terminated, truncated, _ = env.step(action)
        run.observations.append(observation)
        run.actions.append(action)
        run.rewards.append(float(reward))
        run.terminated, done = terminated, terminated or truncated
    return run


def record_vector() -> int:
    """Record a vector environment; the transitions that it made."""
    transitions = 0
    with tupli.record(
        gym.make_vec("CartPole-v1", num_envs=SLOTS), "cartpole-vector", policy="random"
    ) as envs:
        envs.action_space.seed(0)
        envs.reset(seed=0)
        ended = np.zeros(SLOTS, bool)
        for _ in range(VECTOR_STEPS):
            _, _, terminated, truncated, _ = envs.step(envs.action_space.sample())
            transitions += int((~ended).sum())  # the step after an end only resets
            ended = terminated | truncated
    return transitions


def kill_a_recorder() -> Check:
    """Kill a recording process, deliver what its spool kept, and count."""
    child = subprocess.Popen([sys.executable, __file__, "--recorder"], stdout=subprocess.PIPE, text=True)  # noqa: S603 -- ourselves
    assert child.stdout is not None  # noqa: S101 -- for the type checker: it was asked for above
    completed = 0
    for line in child.stdout:
        completed = int(line)
        if completed >= KILLED_AFTER:
            break
    os.kill(child.pid, signal.SIGKILL)
    completed = max([completed, *(int(line) for line in child.stdout.read().split())])
    child.wait()
    child.stdout.close()
    flush = [sys.executable, "-m", "tupli.cli.main", "spool", "flush", "--json"]
    kept = json.loads(subprocess.run(flush, check=True, stdout=subprocess.PIPE).stdout)["steps"]  # noqa: S603 -- ourselves
    data = tupli.dataset("pendulum-killed").to_numpy()
    got = len(data["reward"])
    console.print(
        f"killed when it had told of {completed} steps: {got - kept} were at the server by then, "
        f"the spool had kept the other {kept}, which `tupli spool flush` delivered: {got} in all"
    )
    pairs = np.array_equal(data["next_observation"][:-1], data["observation"][1:], equal_nan=True)
    return (
        "steps of the killed recorder (it may have done one more)",
        completed,
        got,
        got in {completed, completed + 1} and pairs,
    )


def recorder() -> None:
    """What the killed process does: it says after each step how many it completed."""
    with tupli.record(gym.make("Pendulum-v1"), "pendulum-killed", policy="random") as env:
        env.reset(seed=3)
        for number in range(1, 200):
            env.step(env.action_space.sample())
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            time.sleep(0.005)


def check_episode_filter(singles: list[Run]) -> list[Check]:
    """Episodes with a good return, against the same choice made here."""
    wanted = [run for run in singles if sum(run.rewards) >= 20]
    episodes = list(tupli.dataset("cartpole").with_episode_filter(F("return") >= 20).iter_episodes())
    same = [
        np.array_equal(ep.observations, np.stack(run.observations))
        for ep, run in zip(episodes, wanted, strict=False)
    ]
    final = [
        np.array_equal(ep.observations[-1], run.observations[-1])
        for ep, run in zip(episodes, wanted, strict=False)
    ]
    return [
        (
            "episodes with return >= 20",
            len(wanted),
            len(episodes),
            len(wanted) == len(episodes) and all(same),
        ),
        ("their final observations", len(wanted), sum(final), len(wanted) == sum(final)),
    ]


def check_tuple_filter(singles: list[Run]) -> Check:
    """Single tuples, against the same choice made here."""
    chosen = [
        (run.observations[i], run.observations[i + 1])
        for run in singles
        for i, action in enumerate(run.actions)
        if action == 1 and -0.05 <= run.observations[i][2] <= 0.05
    ]
    tuples = (F("action") == 1) & F("observation[2]").between(-0.05, 0.05)
    data = tupli.dataset("cartpole").with_tuple_filter(tuples).to_numpy()
    expected = [np.stack(column) for column in zip(*chosen, strict=True)]
    same = all(
        np.array_equal(a, b)
        for a, b in zip((data["observation"], data["next_observation"]), expected, strict=True)
    )
    return "tuples with action 1 near upright", len(chosen), len(data["action"]), same


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start_server(data: Path, url: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "tupli.cli.main",
        "up",
        "--data",
        str(data),
        "--port",
        url.rsplit(":", 1)[1],
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 -- ourselves
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return server
        except httpx.TransportError:
            time.sleep(0.1)
    server.kill()
    raise SystemExit("the server did not become ready within 60 s")


if __name__ == "__main__":
    if "--recorder" in sys.argv:
        recorder()
    else:
        sys.exit(main())
