"""Segments, their seals and checksums, and the directory of the spool."""

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from support.dead_spool import dead_spool
from support.loop_oracle import recorded_runs
from tupli.errors import InvalidInput, SpoolFull
from tupli.recording.flush import flush_dead, status
from tupli.spool import directory as directory_module
from tupli.spool import owner as owner_module
from tupli.spool.checksums import Checksums, sums_path
from tupli.spool.directory import SpoolDirectory
from tupli.spool.layout import SegmentShape, pack_word, plan, unpack_word
from tupli.spool.owner import StreamLock
from tupli.spool.segment import Segment, SegmentError
from tupli.transport import FakeTransport
from tupli_schemas.steps import Layout

LAYOUT = Layout.parse("o=f4[17]|text;a=f4[6];x=")


def test_a_segment_is_allocated_in_full_and_private(tmp_path: Path) -> None:
    segment = Segment.create(
        tmp_path / "00000001.seg", SegmentShape(LAYOUT, 1, 1000, 4096, 4096), {"layout": LAYOUT.text}
    )
    found = segment.path.stat()
    assert found.st_blocks * 512 >= segment.size == found.st_size
    assert stat.S_IMODE(found.st_mode) == 0o600


def test_what_one_process_wrote_another_reads(tmp_path: Path) -> None:
    path = tmp_path / "00000001.seg"
    segment = Segment.create(path, SegmentShape(LAYOUT, 2, 100, 4096, 4096), {"layout": LAYOUT.text, "é": 1})
    segment.columns["o0"][7] = np.arange(17)
    segment.control[:3] = b"abc"
    segment.word[0] = pack_word(8, 3)
    again = Segment.open(path)
    assert again.published() == (8, 3, False)
    assert again.columns["o0"][7].tolist() == list(range(17))
    assert bytes(again.control[:3]) == b"abc"
    assert again.meta == {"layout": LAYOUT.text, "é": 1}


@pytest.mark.parametrize("damage", ["cut", "magic", "meta"])
def test_a_damaged_segment_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "00000001.seg"
    Segment.create(path, SegmentShape(LAYOUT, 1, 100, 4096, 4096), {"layout": LAYOUT.text})
    with path.open("r+b") as file:
        if damage == "cut":
            file.truncate(8192)
        else:
            file.seek(0 if damage == "magic" else 4096)
            file.write(b"garbage!")
    with pytest.raises(SegmentError):
        Segment.open(path)


def test_the_published_word_holds_three_things() -> None:
    assert unpack_word(pack_word(5, 7)) == (5, 7, False)
    assert unpack_word(pack_word(2**32 - 1, 2**31 - 1, closed=True)) == (2**32 - 1, 2**31 - 1, True)


@pytest.mark.parametrize("slots", [1, 64, 4096])
def test_a_plan_has_room_for_four_blocks(slots: int) -> None:
    shape = plan(
        Layout.parse("o=u1[210,160,3];a=i8[];x="), slots, size=1 << 20, heap_per_row=10.0, start_bytes=500
    )
    assert shape.rows >= 4 * slots


def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "filesystem_of", lambda path: "nfs4")
    with pytest.raises(InvalidInput, match="network"):
        SpoolDirectory(tmp_path)


def test_the_limit_counts_what_is_there(tmp_path: Path) -> None:
    spool = SpoolDirectory(tmp_path, limit=10_000)
    path = spool.stream_path("http://x", "stream")
    (path / "00000001.seg").write_bytes(bytes(6_000))
    spool.make_room(4_000)
    with pytest.raises(SpoolFull):
        spool.make_room(4_001)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[Path]:
    """A spool that a process left in the middle of an episode; nothing was delivered."""
    with dead_spool(tmp_path):
        yield tmp_path


def test_a_dead_stream_is_closed_the_same_way_each_time(dead: Path) -> None:
    transport = FakeTransport()

    def lose_the_answer(events: object) -> None:
        raise SystemExit("the flushing process dies here")

    transport.after_send = lose_the_answer
    with pytest.raises(SystemExit, match="dies here"):
        flush_dead(dead, transport)
    transport.after_send = lambda events: None
    assert flush_dead(dead, transport).rows == 101
    (run,) = recorded_runs(transport.events)  # compares the repetitions
    assert run.end is not None
    assert (run.end.reason, run.end.n_steps, run.end.return_, run.end.has_final) == (
        "killed",
        100,
        100.0,
        True,
    )
    assert run.observations[-1].tolist() == [100.0, 100.0]
    assert not status(dead)


def test_after_a_restart_of_the_machine_only_what_is_proven_is_sent(
    dead: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = dead.glob("*/*/*.seg")
    segment = Segment.open(file)
    word = segment.word[0]
    sums = Checksums(segment)
    sums_path(file).unlink(missing_ok=True)
    for rows in (40, 80, 100):
        segment.word[0] = pack_word(rows, unpack_word(word)[1])
        sums.update()
    segment.word[0] = word
    segment.columns["o0"][90] = -1.0  # a page that was not written in time
    monkeypatch.setattr(owner_module, "boot_id", lambda: "another boot")
    transport = FakeTransport()
    report = flush_dead(dead, transport)
    assert "20 rows" in report.problems[0]
    (run,) = recorded_runs(transport.events)
    assert (len(run.actions), run.end) == (80, None)
    assert [o[0] for o in run.observations] == list(range(80))


def test_a_stream_of_another_server_stays(dead: Path) -> None:
    assert flush_dead(dead, FakeTransport(address="memory://other")).streams == 0
    assert [entry.rows for entry in status(dead)] == [100]


def test_files_are_for_their_owner_only(dead: Path) -> None:
    for path in dead.rglob("*"):
        if path.is_file() and path.suffix != ".sum":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_lock_is_held_once_also_within_a_process(tmp_path: Path) -> None:
    """Threads that flush the same spool: the second leaves the first's lock as it is."""
    script = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"

    def elsewhere() -> bool:
        command = [sys.executable, "-c", script, str(tmp_path / "lock")]
        return subprocess.run(command, check=False, capture_output=True, timeout=30).returncode == 0

    first, second = StreamLock(tmp_path), StreamLock(tmp_path)
    assert first.acquire()
    assert not second.acquire()
    second.close()
    assert not elsewhere()
    first.close()
    assert elsewhere()
    assert second.acquire()
    second.close()


def test_a_lock_of_another_process_is_respected(tmp_path: Path) -> None:
    script = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX);"
        "print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        lock = StreamLock(tmp_path)
        assert not lock.acquire()
        other.communicate()
        assert lock.acquire()
        lock.close()
