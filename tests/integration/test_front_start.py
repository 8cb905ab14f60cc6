"""The front answers from its first moment, says why it is not ready, and ends when it is told to."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.clickhouse_process import own_clickhouse
from support.ingest_service import eventually
from support.server_process import free_port

AWAY = "127.0.0.1:1"


class Front:
    """One on a free port, over a Kafka and a ClickHouse that nobody runs."""

    def __init__(self, environment: dict[str, str]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        given = {
            "TUPLI_KAFKA_BROKERS": AWAY,
            "TUPLI_CLICKHOUSE_HOST": "127.0.0.1",
            "TUPLI_CLICKHOUSE_PORT": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tupli_standalone.front", "--port", str(port)],
            env=os.environ | given | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def get(self, path: str, **more: str) -> httpx.Response | None:
        """Its answer; None while it does not listen."""
        assert self.process.poll() is None
        try:
            return httpx.get(self.url + path, trust_env=False, timeout=10, headers=more)
        except httpx.TransportError:
            return None

    def says(self, path: str, status: int, word: str) -> bool:
        answer = self.get(path)
        return answer is not None and answer.status_code == status and word in answer.text


@pytest.fixture
def front() -> Iterator[Front]:
    made = Front({})
    with made.process:
        try:
            yield made
        finally:
            made.process.kill()


def test_it_answers_and_says_what_is_missing_and_ends(front: Front) -> None:
    eventually(
        lambda: front.says("/readyz", 503, "waits for the log and the store: the store does not answer"), 60
    )
    assert front.says("/livez", 200, "ok")
    assert front.says("/api/livez", 200, "ok")
    for path in ("/query/benchmarks/list", "/ingest/v1/events", "/anything"):
        refused = httpx.post(front.url + path, content=b"", trust_env=False, timeout=10)
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable"), path
        assert refused.headers["retry-after"] == "1"
    foreign = front.get("/readyz", host="elsewhere.example")
    assert foreign is not None
    assert foreign.status_code == 403
    begun = time.monotonic()
    front.process.send_signal(signal.SIGTERM)
    assert front.process.wait(30) == 0
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize(
    ("more", "words"),
    [({}, "tupli admin migrate"), ({"TUPLI_CLICKHOUSE_PASSWORD": "wrong"}, "TUPLI_CLICKHOUSE_PASSWORD")],
    ids=["no tables", "another password"],
)
def test_what_to_do_about_the_store_is_told(more: dict[str, str], words: str, tmp_path: Path) -> None:
    with own_clickhouse(tmp_path) as clickhouse:
        front = Front(clickhouse.environment | more)
        with front.process:
            try:
                eventually(lambda: front.says("/readyz", 503, words), 60)
            finally:
                front.process.kill()
