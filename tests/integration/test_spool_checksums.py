"""After a reboot only what a checksum proves is sent: nothing that a closed recording wrote may be without one."""

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import tupli
from support.dead_spool import STEPS, dead_spool
from tupli.errors import TransportError, TupliWarning
from tupli.recording import shipper
from tupli.recording.flush import dead_jobs, flush_dead
from tupli.spool import owner as owner_module
from tupli.spool.checksums import Checksums, sums_path, verified
from tupli.spool.directory import SpoolDirectory
from tupli.spool.layout import SegmentShape, pack_word
from tupli.spool.manifest import Manifest
from tupli.spool.segment import Segment
from tupli.transport import FakeTransport
from tupli.transport.base import Body, SendResult
from tupli_schemas.steps import Layout

LAYOUT = Layout.parse("o=f4[3];a=i8[];x=")


class Down(FakeTransport):
    """A server that does not answer."""

    def send_events(self, body: Body) -> SendResult:
        raise TransportError("down")


def segment_in(folder: Path) -> Segment:
    return Segment.create(
        folder / "00000001.seg", SegmentShape(LAYOUT, 1, 1_000, 4096, 4096), {"layout": LAYOUT.text}
    )


def test_a_closed_recording_is_delivered_after_a_reboot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, steps = Down(), 0
    env = tupli.record(
        gym.make("CartPole-v1"), "cp", transport=transport, spool_dir=tmp_path, drain_timeout=0.0
    )
    for seed in range(3):
        env.reset(seed=seed)
        done = False
        while not done:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            done = terminated or truncated
            steps += 1
    with pytest.warns(TupliWarning, match="still in the spool"):
        env.close()
    (job,) = (job for job in shipper.background().jobs() if job.transport is transport)
    shipper.background().forget(job)
    manifest = Manifest.read(job.path)
    replace(manifest, owner=replace(manifest.owner, pid=2**22 + 5)).write(job.path)
    monkeypatch.setattr(owner_module, "boot_id", lambda: "another boot")
    report = flush_dead(tmp_path, FakeTransport())
    assert (report.episodes, report.steps, report.left, report.problems) == (3, steps, 0, [])


def test_what_a_killed_process_left_is_covered_by_who_takes_it_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dead_spool(tmp_path):
        (job,) = dead_jobs(SpoolDirectory(tmp_path), Down())
        job.upkeep.keep_checksums()
        job.let_go()
        monkeypatch.setattr(owner_module, "boot_id", lambda: "another boot")
        report = flush_dead(tmp_path, FakeTransport())
    assert (report.steps, report.left, report.problems) == (STEPS, 0, [])


@pytest.mark.parametrize("torn", [0, 7, 31])
def test_checksums_go_on_where_another_process_left_off(tmp_path: Path, torn: int) -> None:
    segment = segment_in(tmp_path)
    segment.columns["o0"][:900] = np.arange(900)[:, None]
    segment.word[0] = pack_word(300, 0)
    Checksums(segment).update()
    with sums_path(segment.path).open("ab") as file:
        file.write(b"x" * torn)  # the process was killed while it wrote
    segment.word[0] = pack_word(900, 0)
    again = Checksums(segment)
    again.update()
    assert verified(segment) == (900, 0)
    again.update()
    Checksums(segment).update()
    assert verified(segment) == (900, 0)
    assert sums_path(segment.path).stat().st_size == 2 * 32
