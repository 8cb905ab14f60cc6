"""`tupli up` is killed, stopped, frozen and started twice; the run that is recorded goes on, and nothing is lost."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import tupli
from support.actor import EPISODE, Walk
from support.ingest_service import EVENTS
from support.ingest_streams import BENCHMARK, StreamOfItems
from support.server_process import ServerProcess
from tupli.recording.flush import status
from tupli.transport import HttpTransport
from tupli_schemas.catalog import CreateBenchmark
from tupli_schemas.events import encode_event
from tupli_schemas.framing import Kind, encode_frame
from tupli_schemas.ids import make_id

EVENTS_PATH = "/ingest/v1/events"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as server:
        yield server


@pytest.fixture
def server(shared: ServerProcess) -> ServerProcess:
    """A running server; tests may stop it, and the next one finds it started again."""
    if not shared.is_running:
        shared.start()
    return shared


def steps(env: Any, count: int, start: int = 0) -> int:
    """`count` steps of a `Walk`, whose actions count from `start`; the next action."""
    for action in range(start, start + count):
        if action % EPISODE == 0:
            env.reset()
        env.step(np.int64(action))
    return start + count


def check(name: str, url: str, count: int) -> None:
    """Every step is there once, in whole episodes."""
    data = tupli.dataset(name, url=url)
    episodes = list(data.iter_episodes())
    actions = np.concatenate([episode.actions for episode in episodes])
    np.testing.assert_array_equal(actions, np.arange(count))
    for episode in episodes:
        np.testing.assert_array_equal(episode.observations[:, 2], np.arange(len(episode) + 1))
        np.testing.assert_array_equal(episode.rewards, episode.actions)
    headers = data.including("open", "incomplete", "conflict", "abandoned").preview()
    assert len(headers) == len(episodes)
    assert headers.n_tuples == count


# -- the server goes away, the run goes on ---------------------------------------------------------------------


def test_a_data_directory_behind_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with ServerProcess(tmp_path / "real" / ".." / "link" / "data") as server:  # ready: queries answer
        name = "behind-a-link"
        with tupli.record(Walk(), name, url=server.url, spool_dir=tmp_path / "spool") as env:
            steps(env, EPISODE)
        check(name, server.url, EPISODE)


@pytest.mark.timeout(180)
def test_killed_at_random_moments_nothing_is_lost_or_doubled(server: ServerProcess, tmp_path: Path) -> None:
    rng = random.Random(4)
    done = 0
    with tupli.record(Walk(), "killed", url=server.url, spool_dir=tmp_path, drain_timeout=60) as env:
        for pause in (
            0.3,
            rng.uniform(0.5, 2),
            rng.uniform(6, 8),
        ):  # the second hits a server that just starts
            end = time.monotonic() + pause
            while time.monotonic() < end:
                done = steps(env, 1, done)
                time.sleep(0.002)
            server.kill()
            done = steps(env, 100, done)
            server.start(wait=False)
        done = steps(env, 100, done)
    check("killed", server.url, done)
    assert status(tmp_path) == []
    server.wait_ready()
    assert server.stop() == 0
    server.start()
    check("killed", server.url, done)


def test_down_at_the_start(server: ServerProcess, tmp_path: Path) -> None:
    server.kill()
    with tupli.record(Walk(), "down", url=server.url, spool_dir=tmp_path, drain_timeout=60) as env:
        done = steps(env, 3_010)
        assert [stream.rows >= done for stream in status(tmp_path)] == [True]
        server.start()
    check("down", server.url, done)


def test_hanging(server: ServerProcess, tmp_path: Path) -> None:
    with tupli.record(Walk(), "hanging", url=server.url, spool_dir=tmp_path, drain_timeout=60) as env:
        done = steps(env, 500)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            done = steps(env, 2_510, done)  # every step returns while nobody answers
        finally:
            os.kill(server.pid, signal.SIGCONT)
    check("hanging", server.url, done)


def test_slow(server: ServerProcess, tmp_path: Path) -> None:
    """A server that gets every other tenth of a second."""
    with tupli.record(Walk(), "slow", url=server.url, spool_dir=tmp_path, drain_timeout=60) as env:
        done = 0
        for _ in range(8):
            os.kill(server.pid, signal.SIGSTOP)
            done = steps(env, 100, done)
            time.sleep(0.1)
            os.kill(server.pid, signal.SIGCONT)
            done = steps(env, 100, done)
            time.sleep(0.1)
    check("slow", server.url, done)


def test_a_pull_goes_on_after_a_kill(server: ServerProcess) -> None:
    storage = tupli.TupliAPIClient(server.url)
    benchmark = storage.store_benchmark("large").id
    count, width = 2_000, 1_500
    observations = np.arange((count + 1) * width, dtype=np.float32).reshape(-1, width)
    for _ in range(2):
        storage.record(
            tupli.Episode.from_arrays(
                benchmark_id=benchmark,
                observations=observations,
                actions=np.arange(count),
                rewards=np.zeros(count),
                terminated=True,
                truncated=False,
            )
        )
    batches = iter(tupli.dataset("large", storage=storage).batches(100, columns=["observation", "action"]))
    pulled = [next(batches)]
    server.kill()
    server.start()
    pulled += batches
    actions = np.concatenate([batch["action"] for batch in pulled])
    np.testing.assert_array_equal(actions, np.tile(np.arange(count), 2))
    rows = np.concatenate([batch["observation"] for batch in pulled])
    np.testing.assert_array_equal(rows, np.tile(observations[:-1], (2, 1)))
    storage.close()


# -- start and stop --------------------------------------------------------------------------------------------


def test_sigterm_finishes_what_is_in_flight(server: ServerProcess) -> None:
    transport = HttpTransport(server.url)
    transport.command(CreateBenchmark(command_id="life", benchmark=BENCHMARK, name="in-flight"))
    stream = StreamOfItems(make_id(1_700_000_000_000, 99)).episode(1, 200)
    body = b"".join(encode_frame(Kind.EVENT, encode_event(event)) for event in stream.events(cut=50))
    begun, goes_on = threading.Event(), threading.Event()
    answers: list[httpx.Response] = []

    def in_two_parts() -> Iterator[bytes]:
        yield body[:1000]
        begun.set()
        goes_on.wait(30)
        yield body[1000:]

    def send() -> None:
        url = server.url + EVENTS_PATH
        answers.append(httpx.post(url, content=in_two_parts(), headers=EVENTS, trust_env=False, timeout=30))

    sender = threading.Thread(target=send)
    sender.start()
    assert begun.wait(10)
    time.sleep(0.2)
    os.kill(server.pid, signal.SIGTERM)
    time.sleep(0.5)
    goes_on.set()
    assert server.stop() == 0
    sender.join()
    assert answers[0].status_code == 200
    server.start()
    state = transport.stream_state(stream.stream)
    assert (state["expected"], [e["status"] for e in state["episodes"]]) == (204, ["terminated"])
    transport.close()


def tupli_up(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tupli_standalone", "--data", str(data), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("same_port", [False, True])
def test_a_second_process_on_the_same_folder_is_told_who_has_it(
    same_port: bool,  # noqa: FBT001 -- parametrized
    server: ServerProcess,
    free_port: int,
) -> None:
    second = tupli_up(server.data, "--port", str(server.port if same_port else free_port))
    assert second.returncode == 2
    assert second.stderr.startswith("tupli up: ")
    assert f"process {server.pid} " in second.stderr
    assert "Traceback" not in second.stderr
    assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200


def test_other_hosts_are_refused_with_the_reason(tmp_path: Path) -> None:
    refused = tupli_up(tmp_path / "data", "--host", "0.0.0.0")
    assert refused.returncode == 2
    assert refused.stderr.startswith("tupli up: --host 0.0.0.0: refused. This version has no accounts")
    assert not (tmp_path / "data").exists()


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = tupli_up(tmp_path / "data", "--port", str(port))
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert f"tupli up: port {port} is in use" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--host", "0.0.0.0"), "no accounts"),
        (("--port", "many"), "invalid int value"),
        (("--nope",), "unrecognized arguments: --nope"),
    ],
)
def test_programs_are_told_as_json_why_it_does_not_start(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    refused = tupli_up(tmp_path / "data", *arguments, "--log-format", "json")
    assert refused.returncode == 2
    error = json.loads(refused.stderr)["error"]
    assert error["type"] == "RefusedSetting"
    assert told in error["detail"]
    plain = tupli_up(tmp_path / "data", *arguments)
    assert plain.stderr.startswith("tupli up: ")
    assert told in plain.stderr


def test_a_data_directory_that_cannot_be_made_is_told_with_what_chooses_another(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = tupli_up(tmp_path / "file" / "data")
    assert refused.returncode == 2
    assert "Not a directory" in refused.stderr
    assert "--data or TUPLI_DATA" in refused.stderr


# -- the edge --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [EVENTS_PATH, "/query/v1/episodes/list", "/api/query/v1/episodes/list", "/livez"]
)
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Host", "rebound.example.org"),
        ("Host", "rebound.example.org:8080"),
        ("Origin", "https://example.org"),
        ("Origin", "null"),
        ("Origin", "http://localhost:3000"),
    ],
)  # fmt: skip
def test_foreign_pages_are_refused(header: str, value: str, path: str, server: ServerProcess) -> None:
    answer = httpx.post(server.url + path, headers={header: value}, content=b"{}", trust_env=False)
    document = answer.json()
    assert answer.status_code == document["status"] == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert (document["code"], document["place"]) == ("foreign_origin", header)


def test_probes(server: ServerProcess) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        assert http.get("/livez").json() == {"status": "alive"}
        ready = http.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        checks = ready.json()["checks"]
        assert {"log", "store", "processor", "query.store"} <= set(checks)
        assert set(checks.values()) == {"ok"}
        for prefix in ("", "/ingest", "/query/v1"):
            missing = http.get(f"{prefix}/nothing")
            assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


def test_logs_are_json_with_the_request_ids(server: ServerProcess) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        wrong = http.post(EVENTS_PATH, content=b"x", headers=EVENTS | {"x-request-id": "life-1"})
        asked = http.post("/query/v1/episodes/list", content=b"{", headers={"x-request-id": "life-2"})
    for answer, own in ((wrong, "life-1"), (asked, "life-2")):
        assert answer.status_code == 400
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == own
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    requests = [line for line in lines if str(line.get("request_id", "")).startswith("life-")]
    assert [(line["event"], line["request_id"], line["status"]) for line in requests] == [
        ("request", "life-1", 400),
        ("request", "life-2", 400),
    ]
    assert all(line["level"] and line["timestamp"] for line in lines)
