"""`tupli spool` over a small server: what was delivered, refused, or could not be proven, and the exit codes."""

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from support.command_line import Run, command_line
from support.dead_spool import STEPS, cover, damage, dead_spool, two_dead
from support.tiny_server import TinyServer, tiny_server
from tupli.cli.waiting import Waiting, cut_short, look
from tupli.errors import TransportError
from tupli.recording import flush as flush_module
from tupli.recording.flush import FlushReport
from tupli.spool import owner as owner_module
from tupli.spool.directory import SpoolDirectory
from tupli.spool.manifest import Manifest
from tupli.transport import FakeTransport, HttpTransport
from tupli.transport.fake import refusal
from tupli_schemas.events import Event, StepsRecorded


@pytest.fixture
def server() -> Iterator[TinyServer]:
    with tiny_server() as server:
        yield server


@pytest.fixture
def dead(server: TinyServer, tmp_path: Path) -> Iterator[Path]:
    transport = HttpTransport(server.url)
    with dead_spool(tmp_path, transport=transport) as path:
        yield path
    transport.close()


@pytest.fixture
def run(
    server: TinyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs `tupli spool COMMAND`; exit code, stdout and stderr."""
    environment = {"TUPLI_URL": server.url, "TUPLI_SPOOL_DIR": str(tmp_path)}
    return command_line("spool", environment=environment, monkeypatch=monkeypatch, capsys=capsys)


def delivered(server: TinyServer) -> int:
    """Rows that the server has."""
    return sum(event.rows().num_rows for event in server.kept.events if isinstance(event, StepsRecorded))


def shown(run: Run) -> dict[str, Any]:
    code, out, _ = run("status", "--json")
    assert code == 0
    found: dict[str, Any] = orjson.loads(out)
    return found


def test_what_is_refused_fails_once_and_is_shown_from_then_on(
    dead: Path, run: Run, server: TinyServer
) -> None:
    def refuse(events: list[Event]) -> None:
        for index, event in enumerate(events):
            if isinstance(event, StepsRecorded) and event.first < 5:
                raise refusal("invalid_event", index=index, detail="reward is not a number")

    assert [stream["episodes"] for stream in shown(run)["streams"]] == [0]  # its end is written by the flush
    server.kept.before_send = refuse
    code, out, err = run("flush")
    assert code == 1
    found = shown(run)
    (refused,) = found["rejected"]
    kept = refused["events"]
    assert out == f"delivered {STEPS - kept} steps of 1 stream; 1 episode ended with them\n"
    assert f"the server refused {kept} events" in err
    assert (refused["stream"], refused["code"], refused["first"]) == (dead.name, "invalid_event", 2)
    assert (found["streams"], found["unproven"]) == ([], [])
    _, table, _ = run("status")
    for word in (dead.name, "invalid_event", "reward is not a number", "refused by the server", "rejected"):
        assert word in table
    assert run("flush")[0] == 0


def test_what_is_not_proven_is_shown_until_it_is_removed(
    dead: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(segment: Any) -> None:
        segment.columns["o0"][0] = -1.0

    (rows,) = cover(dead, spoil)
    monkeypatch.setattr(owner_module, "boot_id", lambda: "another boot")
    code, _, err = run("flush")
    assert code == 1
    assert "cannot be proven whole" in err
    (kept,) = shown(run)["unproven"]
    assert (kept["stream"], kept["rows"]) == (dead.name, rows)
    _, table, _ = run("status")
    assert "the machine was restarted" in table
    assert run("flush")[0] == 0
    for file in (tmp_path / "unproven").iterdir():
        file.unlink()
    assert shown(run) == {"streams": [], "rejected": [], "unproven": []}


def test_a_flush_that_delivers_everything_succeeds(dead: Path, run: Run, server: TinyServer) -> None:
    code, out, err = run("flush", "--json")
    report = orjson.loads(out)
    assert (code, err) == (0, "")
    assert (report["streams"], report["steps"], report["episodes"], report["left"]) == (1, STEPS, 1, 0)


def test_a_server_that_is_not_there_leaves_everything(
    dead: Path, run: Run, server: TinyServer, tmp_path: Path
) -> None:
    server.fault = "unavailable"
    code, out, err = run("flush")
    assert code == 1
    assert out == (
        f"cut short: delivered 0 of {STEPS + 1} rows; {STEPS + 1} rows of 1 stream stay in the spool; "
        f"deliver them with: tupli spool flush --url {server.url} --spool-dir {tmp_path}\n"
    )
    assert "TransportError" in err
    (stream,) = shown(run)["streams"]
    assert (stream["rows"], stream["problem"]) == (STEPS + 1, "")


def test_a_server_that_goes_away_meanwhile_is_told_with_what_it_has(
    dead: Path, run: Run, server: TinyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: list[Event]) -> None:
        if delivered(server) > 30:
            server.fault = "unavailable"

    monkeypatch.setattr(flush_module, "REQUEST_BYTES", 1)
    monkeypatch.setattr("tupli.spool.reader.MAX_RECORD_BYTES", 512)
    server.kept.after_send = gone
    code, out, _ = run("flush", "--json")
    report = orjson.loads(out)
    kept = delivered(server)
    assert (code, report["streams"], report["elsewhere"]) == (1, 0, [])
    assert 30 < kept < STEPS
    assert (report["rows"], report["left"]) == (kept, STEPS + 1 - kept)
    assert (report["steps"], report["episodes"], report["rejected"]) == (kept, 0, 0)
    assert "not now" in report["problems"][0]
    assert shown(run)["streams"][0]["rows"] == report["left"]
    server.fault, server.kept.after_send = "", lambda _: None
    assert run("flush")[0] == 0
    assert delivered(server) == STEPS + 1


def test_ctrl_c_is_told_with_what_is_delivered(dead: Path, server: TinyServer, tmp_path: Path) -> None:
    def hang(_: list[Event]) -> None:
        server.fault = "hang"

    server.kept.after_send = hang
    code = (
        "import sys, tupli.recording.flush as f, tupli.spool.reader as r; from tupli.cli.main import main\n"
        "f.REQUEST_BYTES = 1; r.MAX_RECORD_BYTES = 512\n"
        f"sys.argv = ['tupli', 'spool', 'flush', '--url', {server.url!r}, '--spool-dir', {str(tmp_path)!r}]\n"
        "main()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while not (server.kept.requests and server.hanging.is_set()) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode not in {0, None}
    kept = delivered(server)
    assert out.startswith(
        f"cut short: delivered {kept} of {STEPS + 1} rows; {STEPS + 1 - kept} rows of 1 stream"
    )
    assert "Traceback" not in err


@pytest.mark.parametrize("what", ["schema", "control"])
def test_a_damaged_stream_is_told_and_the_others_are_delivered(
    what: str, run: Run, server: TinyServer, tmp_path: Path
) -> None:
    transport = HttpTransport(server.url)
    with two_dead(tmp_path, transport) as (damaged, _):
        damage(damaged, what)
        assert [stream["stream"] for stream in shown(run)["streams"] if stream["problem"]] == (
            [damaged.name] if what == "control" else []  # nobody has tried to read the other
        )
        for _ in range(2):
            code, out, err = run("flush")
            assert code == 1
            assert damaged.name in err
            (left,) = shown(run)["streams"]
            assert (left["stream"], left["alive"]) == (damaged.name, False)
            assert left["problem"]
            assert delivered(server) == STEPS + 1
        assert out == "delivered 0 steps of 0 streams; 0 episodes ended with them\n"
    transport.close()


def test_what_is_for_another_server_is_told_and_stays(
    dead: Path, run: Run, server: TinyServer, tmp_path: Path
) -> None:
    with tiny_server() as other:
        code, out, err = run("flush", "--url", other.url)
        assert (code, err) == (0, "")
        first, second = out.splitlines()
        assert first == "delivered 0 steps of 0 streams; 0 episodes ended with them"
        assert second == (
            f"{STEPS} rows of 1 stream for {server.url} stay in the spool; deliver them with: "
            f"tupli spool flush --url {server.url} --spool-dir {tmp_path}"
        )
        code, out, _ = run("flush", "--url", other.url, "--json")
        (left,) = orjson.loads(out)["elsewhere"]
        assert (code, left["address"], left["rows"], left["streams"]) == (0, server.url, STEPS, 1)
        told = run("flush", "--url", other.url)[1].partition("deliver them with: tupli spool ")[2]
    assert delivered(server) == 0
    assert run(*shlex.split(told))[0] == 0
    assert delivered(server) == STEPS + 1


def test_what_somebody_else_recorded_is_told(dead: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUPLI_TOKEN", "another")
    code, out, _ = run("flush")
    assert code == 0
    assert f"{STEPS} rows of 1 stream" in out
    assert "recorded as somebody else: set their TUPLI_TOKEN; deliver them with: tupli spool flush" in out


def test_a_stream_that_dies_while_a_flush_is_cut_short_is_no_less_delivered() -> None:
    report = FlushReport(streams=1, rows=5, steps=4, episodes=1)
    left = Waiting("http://server", streams=3, rows=300, is_mine=True)
    told, line = cut_short(report, left, TransportError("gone"), None)
    assert (told["rows"], told["left"], told["streams"], told["steps"]) == (5, 300, 1, 4)
    assert told["problems"] == ["TransportError: gone"]
    assert line.startswith("cut short: delivered 5 of 305 rows; 300 rows of 3 streams stay in the spool")
    assert report.problems == []


def test_a_look_reads_each_manifest_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = FakeTransport()
    read: list[Path] = []
    real = Manifest.read

    def reading(path: Path) -> Manifest:
        read.append(path)
        return real(path)

    with two_dead(tmp_path, transport) as dead:
        monkeypatch.setattr(Manifest, "read", reading)
        found = look(SpoolDirectory(tmp_path), transport)
    assert (found.mine.streams, found.mine.rows, found.elsewhere) == (2, 2 * STEPS, ())
    assert sorted(read) == sorted(dead)
