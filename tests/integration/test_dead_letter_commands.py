"""`tupli dead-letters` against a real `tupli up`: what had no room is told, and replayed when there is some."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

import tupli
from support.environments import make, play
from support.ingest_service import eventually
from support.server_process import ServerProcess
from tupli.cli.main import main

Run = Callable[..., tuple[int, str, str]]
STEPS = 40


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """Has room for one kind of steps."""
    with ServerProcess(tmp_path / "data", env={"TUPLI_INGEST_MAX_STEP_TABLES": "1"}) as server:
        yield server


@pytest.fixture
def run(server: ServerProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    for name, value in (("TUPLI_URL", server.url), ("COLUMNS", "250")):
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tupli", "dead-letters", *arguments])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        return int(code or 0), *capsys.readouterr()

    return run


def record(server: ServerProcess, name: str, kind: str, folder: Path) -> None:
    with tupli.record(make(kind), name, url=server.url, spool_dir=folder / "spool") as env:
        play(env, STEPS, 3)


def statuses(url: str, name: str) -> list[str]:
    data = tupli.dataset(name, url=url, include=["open", "incomplete", "conflict"])
    return [header.status for header in data.preview()]


def get(server: ServerProcess, path: str) -> httpx.Response:
    return httpx.get(f"{server.url}/ingest/v1/dead-letters{path}", trust_env=False, timeout=30)


def restarted(server: ServerProcess, tables: str) -> None:
    assert server.stop() == 0
    server._env["TUPLI_INGEST_MAX_STEP_TABLES"] = tables
    server.start()


@pytest.mark.timeout(180)
def test_what_had_no_table_is_whole_after_a_replay(server: ServerProcess, run: Run, tmp_path: Path) -> None:
    assert orjson.loads(run("list", "--json")[1])["letters"] == []
    record(server, "first", "pendulum", tmp_path)
    record(server, "second", "dict", tmp_path)
    eventually(lambda: "conflict" in statuses(server.url, "second"))

    code, out, _ = run("list")
    assert code == 0
    assert "no_more_tables" in out
    page = orjson.loads(run("list", "--json")[1])
    assert {letter["code"] for letter in page["letters"]} == {"no_more_tables"}
    assert page["after"] == page["newest"] == page["letters"][-1]["index"]
    code, out, _ = run("show", "0")
    assert code == 0
    assert "StepsRecorded" in out
    shown = orjson.loads(run("show", "0", "--json")[1])
    assert (shown["record"]["event"], shown["record"]["version"]) == ("StepsRecorded", 1)
    assert shown["record"]["members"]["stream"] == shown["stream"]
    assert (shown["record"]["error"], shown["record"]["size"] > 0) == ("", True)

    count = len(page["letters"])
    code, out, _ = run("replay", "0", "--json")  # there is still no room
    assert (code, [one["index"] for one in orjson.loads(out)["replayed"]]) == (0, [0])
    eventually(lambda: get(server, "").json()["newest"] == count)
    assert "conflict" in statuses(server.url, "second")

    restarted(server, "10")
    code, out, err = run("replay", "--code", "no_more_tables")
    assert code == 0, err
    assert "tupli.episodes.v1/0@" in out
    eventually(lambda: "conflict" not in statuses(server.url, "second"))
    record(server, "twin", "dict", tmp_path)
    data = [tupli.dataset(name, url=server.url).to_numpy("reward")["reward"] for name in ("second", "twin")]
    assert len(data[0]) == STEPS
    np.testing.assert_array_equal(*data)

    steps = len(tupli.dataset("second", url=server.url).to_numpy("reward")["reward"])
    assert run("replay", "0", "1")[0] == 0  # once more, which is harmless
    eventually(lambda: httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200)
    record(server, "first", "pendulum", tmp_path)  # and is done when this is visible
    assert len(tupli.dataset("second", url=server.url).to_numpy("reward")["reward"]) == steps
    assert "conflict" not in statuses(server.url, "second")
    assert get(server, "").json()["newest"] == count


@pytest.mark.timeout(60)
def test_bad_questions_are_refused(server: ServerProcess, run: Run) -> None:
    for path, status in (
        ("/7", 404),
        ("/x", 422),
        ("/-1", 422),
        ("?after=x", 422),
        ("?after=-1", 422),
        (f"?after={10**30}", 422),
        ("?limit=0", 422),
        ("?limit=1001", 422),
    ):
        answer = get(server, path)
        assert answer.status_code == status, path
        assert answer.headers["content-type"] == "application/problem+json"
    for body, status in (
        ({}, 400),
        ({"indexes": [1], "code": "x"}, 400),
        ({"indexes": [7]}, 404),
        ({"indexes": ["x"]}, 422),
        ({"indexes": list(range(1001))}, 422),
        ({"code": "x", "subject": "me"}, 422),
        ({"code": "none"}, 200),
    ):
        answer = httpx.post(f"{server.url}/ingest/v1/dead-letters/replay", json=body, trust_env=False)
        assert answer.status_code == status, body
    code, _, err = run("show", "7", "--json")
    assert (code, orjson.loads(err)["error"]["problem"]["code"]) == (1, "not_found")
    assert run("replay", "7")[0] == 1
    assert run("replay")[0] == 1
    assert run("replay", "1", "--code", "x")[0] == 1
    assert run("replay", "--code", "none")[0] == 0
