"""A small disk that a recording fills, or that is filled to the last byte behind a dead one.

What is in the spool is delivered, and what must be kept stays.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from support import processes
from support.loop_oracle import recorded_runs
from support.tiny_server import tiny_server

TESTS = Path(__file__).parent.parent
PREPARED = """
import errno, json, os, sys
from dataclasses import asdict
from pathlib import Path
from support.dead_spool import STEPS, cover, dead_spool
from support.loop_oracle import recorded_runs
from tupli.recording.flush import flush_dead
from tupli.spool import owner
from tupli.transport import FakeTransport

root = Path(sys.argv[1])
filler = root / "filler"

def fill():
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC

def flush(transport):
    report = asdict(flush_dead(root / "spool", transport))
    return report | {"there": path.exists(), "sent": sum(len(run.actions) for run in recorded_runs(transport.events))}

with dead_spool(root / "spool", 8192) as path:
    out = []
"""
DELIVERED = """
    fill()
    out.append(flush(FakeTransport()))
"""
UNPROVEN = """
    def spoil(segment):
        if segment.number == 2:
            segment.columns["o0"][0] = -1.0
    cover(path, spoil)
    owner.boot_id = lambda: "another boot"
    fill()
    transport = FakeTransport()
    out.append(flush(transport))
    filler.unlink()
    out.append(flush(transport))
"""


def on_small_disk(folder: Path, script: str) -> list[dict[str, Any]]:
    code = PREPARED + script + "\nprint(json.dumps(out))"
    (folder / "script.py").write_text(code)
    disk = folder / "disk"
    disk.mkdir()
    command = (
        f"mount -t tmpfs -o size=24m tmpfs {disk} && exec {sys.executable} {folder / 'script.py'} {disk}"
    )
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", command],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def test_a_full_disk_is_emptied_by_a_flush(tmp_path: Path) -> None:
    (report,) = on_small_disk(tmp_path, DELIVERED)
    assert (report["streams"], report["steps"], report["sent"]) == (1, 100, 100)
    assert (report["problems"], report["there"]) == ([], False)


def test_what_is_not_proven_waits_for_room_to_be_kept(tmp_path: Path) -> None:
    full, roomy = on_small_disk(tmp_path, UNPROVEN)
    assert (full["sent"], full["there"]) == (0, True)
    assert "No space left" in full["problems"][0]
    assert 0 < roomy["sent"] < 100
    assert "cannot be proven whole" in roomy["problems"][0]
    assert not roomy["there"]


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
