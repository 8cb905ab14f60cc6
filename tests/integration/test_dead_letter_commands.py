"""`tupli dead-letters` against a real `tupli up`: what could not be processed is told, and replayed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest

import tupli
from support.command_line import Run, command_line
from support.environments import make, play
from support.ingest_service import eventually
from support.ingest_streams import OTHER_SUBJECT
from support.server_process import ServerProcess
from tupli.transport import HttpTransport
from tupli_ingest.adapters.sqlite_log import SqliteLog
from tupli_schemas.events import EPISODES_TOPIC
from tupli_schemas.records import NewRecord

STEPS = 40


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """Has room for one kind of steps."""
    with ServerProcess(tmp_path / "data", env={"TUPLI_INGEST_MAX_STEP_TABLES": "1"}) as server:
        yield server


@pytest.fixture
def run(server: ServerProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    environment = {"TUPLI_URL": server.url}
    return command_line("dead-letters", environment=environment, monkeypatch=monkeypatch, capsys=capsys)


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
def test_what_had_no_table_is_told_and_whole_after_a_rebuild(
    server: ServerProcess, run: Run, tmp_path: Path
) -> None:
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
    code, out, _ = run("replay", "--code", "no_more_tables", "--json")  # its numbers have come
    assert (code, orjson.loads(out)["replayed"]) == (1, [])
    assert "rebuild" in orjson.loads(out)["skipped"][0]["reason"]

    restarted(server, "10")
    HttpTransport(server.url).start_rebuild()
    eventually(lambda: "conflict" not in statuses(server.url, "second"), 60)
    record(server, "twin", "dict", tmp_path)
    data = [tupli.dataset(name, url=server.url).to_numpy("reward")["reward"] for name in ("second", "twin")]
    assert len(data[0]) == STEPS
    np.testing.assert_array_equal(*data)
    assert get(server, "").json()["newest"] == count - 1


def poison(data: Path) -> None:
    """A record of another's in a stream, into the log of a server that does not run."""
    log = SqliteLog(data / "log.sqlite3")
    start = log.read(EPISODES_TOPIC, 0, max_bytes=1 << 20)[0]
    log.append_now(
        EPISODES_TOPIC,
        [NewRecord(start.key, replace(start.envelope, subject=OTHER_SUBJECT), start.payload)],
    )
    log.close()


@pytest.mark.timeout(120)
def test_a_replay_appends_the_record_as_it_was(server: ServerProcess, run: Run, tmp_path: Path) -> None:
    record(server, "first", "pendulum", tmp_path)
    assert server.stop() == 0
    poison(tmp_path / "data")
    server.start()
    eventually(lambda: get(server, "").json()["newest"] == 0, 60)
    code, out, err = run("replay", "0")
    assert code == 0, err
    assert "tupli.episodes.v1/0@" in out
    eventually(lambda: get(server, "").json()["newest"] == 1, 60)  # its owner is still another
    first, again = (orjson.loads(run("show", index, "--json")[1]) for index in ("0", "1"))
    assert first["code"] == again["code"] == "foreign_owner"
    assert first["position"] != again["position"]
    assert first["record"]["members"] == again["record"]["members"]
    assert len(tupli.dataset("first", url=server.url).to_numpy("reward")["reward"]) == STEPS


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
        ({"code": "none"}, 400),
        ({"code": "undecodable"}, 200),
    ):
        answer = httpx.post(f"{server.url}/ingest/v1/dead-letters/replay", json=body, trust_env=False)
        assert answer.status_code == status, body
    code, _, err = run("show", "7", "--json")
    assert (code, orjson.loads(err)["error"]["problem"]["code"]) == (1, "not_found")
    assert run("replay", "7")[0] == 1
    assert run("replay")[0] == 1
    assert run("replay", "1", "--code", "x")[0] == 1
    assert run("replay", "--code", "undecodable")[0] == 0
    code, _, err = run("replay", "--code", "undecodabel")
    assert code == 1
    assert "too_many_gaps, undecodable" in err
