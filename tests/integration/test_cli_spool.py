"""`tupli spool` over a small server: what was delivered, refused, or could not be proven, and the exit codes."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from support.dead_spool import STEPS, cover, dead_spool
from support.tiny_server import TinyServer, tiny_server
from tupli.cli.main import main
from tupli.spool import owner as owner_module
from tupli.transport import HttpTransport
from tupli.transport.fake import refusal
from tupli_schemas.events import Event, StepsRecorded

Run = Callable[..., tuple[int, str, str]]


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
    for name, value in (("TUPLI_URL", server.url), ("TUPLI_SPOOL_DIR", str(tmp_path)), ("COLUMNS", "250")):
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tupli", "spool", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int | None)
        return code or 0, *capsys.readouterr()

    return run


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


def test_a_server_that_is_not_there_leaves_everything(dead: Path, run: Run, server: TinyServer) -> None:
    server.fault = "unavailable"
    code, out, err = run("flush")
    assert (code, out) == (1, "")
    assert "TransportError" in err
    (stream,) = shown(run)["streams"]
    assert (stream["rows"], stream["problem"]) == (STEPS + 1, "")
