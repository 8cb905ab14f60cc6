"""A small disk, filled to the last byte: what is in the spool is delivered, and what must be kept stays."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
