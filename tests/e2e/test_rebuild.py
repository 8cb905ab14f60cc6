"""`tupli rebuild` on a running server, of what a killed process recorded: the same to the byte, and nothing comes back."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import tupli
from support.actor_process import Actor
from support.environments import make, make_vector, play, play_vector
from support.ingest_dump import dump
from support.ingest_service import eventually
from support.server_process import ServerProcess
from tupli import F
from tupli.recording.flush import flush_dead
from tupli.transport import HttpTransport
from tupli_ingest.adapters.chdb_client import ChdbClient


def record_and_kill(url: str, folder: Path) -> int:
    """What another process recorded until it was killed, delivered; the steps that it had completed."""
    completed = 0
    for mode in ("single", "vector"):
        place = folder / mode
        place.mkdir()
        actor = Actor(mode, url, place)
        actor.wait_for(2_000)
        completed += actor.kill() * (3 if mode == "vector" else 1)
        transport = HttpTransport(url)
        assert flush_dead(actor.spool, transport).left == 0
        transport.close()
    return completed


class Asking(threading.Thread):
    """Asks the same question again and again."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.ended = threading.Event()
        self.answers: list[Any] = []

    def run(self) -> None:
        while not self.ended.wait(0.05):
            self.answers.append(ask(self._url))


def ask(url: str) -> tuple[int, int, float]:
    data = tupli.dataset("walk", url=url).with_tuple_filter(F("action") < 500)
    table = data.to_numpy(["reward", "episode"])
    return len(data.preview()), len(table["reward"]), float(table["reward"].sum())


@pytest.mark.timeout(180)
def test_a_rebuild_on_the_running_server_is_the_same_to_the_byte(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        url, storage = server.url, tupli.TupliAPIClient(server.url)
        completed = record_and_kill(url, tmp_path)
        for name in ("kept", "gone"):
            with tupli.record(make("dict"), name, url=url, spool_dir=tmp_path / "spool") as env:
                play(env, 60, 3)
        with tupli.record(
            make_vector("image", 2, "next_step"), "images", url=url, spool_dir=tmp_path
        ) as envs:
            play_vector(envs, 40, 3, "next_step")
        eventually(lambda: not tupli.dataset("walk", url=url, include=["open"]).with_episode_filter(
            F("status") == "open").preview())  # fmt: skip
        kept = tupli.dataset("kept", url=url).preview()
        storage.publish_episode(kept[0].id, "lab")
        storage.delete_episode(kept[1].id)
        gone = storage.list_benchmarks(F("name") == "gone")[0]
        storage.delete_benchmark(gone.id)
        visible = [header.id for header in storage.list_episodes()]
        before = ask(url)

        asking = Asking(url)
        asking.start()
        command = [sys.executable, "-m", "tupli.cli.main", "rebuild", "--json", "--url", url]
        rebuilt = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        eventually(lambda: len(asking.answers) > 2)
        asking.ended.set()
        asking.join()
        assert rebuilt.returncode == 0, rebuilt.stderr
        assert '"state": "done"' in rebuilt.stdout
        assert set(asking.answers) == {before} == {ask(url)}

        assert [header.id for header in storage.list_episodes()] == visible
        assert kept[1].id not in visible
        assert {header.name for header in storage.list_benchmarks()} == {"walk", "kept", "images"}
        assert server.stop() == 0
        one, two = dumps(server.data)
        assert one == two
        steps = sum(len(rows) for name, rows in one.items() if name.startswith("steps_"))
        assert steps > completed
        assert not_discarded(server.data) == len(visible)  # a slot that was reset and not stepped leaves none

        server.start()  # drops the old generation
        assert [header.id for header in storage.list_episodes()] == visible
        with tupli.record(make("pendulum"), "gone", url=url, spool_dir=tmp_path / "spool") as env:
            play(env, 20, 1)  # the name is free, for other spaces, too
        again = storage.list_benchmarks(F("name") == "gone")[0]
        assert again.id != gone.id
        assert tupli.dataset("gone", url=url).preview().n_tuples == 20
        storage.close()


def not_discarded(data: Path) -> int:
    """How many episodes the new generation holds."""
    client = ChdbClient(data / "store")
    try:
        return len(client.column("SELECT episode FROM tupli_g2.episodes FINAL WHERE NOT discarded"))
    finally:
        client.close()


def dumps(data: Path) -> list[dict[str, list[bytes]]]:
    """All that both generations hold."""
    client = ChdbClient(data / "store")
    try:
        return [dump(client, f"tupli_g{generation}") for generation in (1, 2)]
    finally:
        client.close()
