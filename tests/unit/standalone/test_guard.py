"""The loopback guard: programs of this machine pass, web pages of others do not."""

import asyncio
from typing import Any

import orjson
import pytest
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from tupli_standalone.edge import Edge
from tupli_standalone.guard import LoopbackGuard, is_loopback_host, is_own_origin
from tupli_standalone.settings import RefusedSetting, Settings


class Echo:
    """An application that answers 200 and remembers the path it saw."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


HERE = (("host", "127.0.0.1:8080"),)


def call(app: Any, path: str = "/x", headers: tuple[tuple[str, str], ...] = HERE) -> int:
    return int(answer(app, path, headers)[0]["status"])


def answer(app: Any, path: str, headers: tuple[tuple[str, str], ...]) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": raw}
    run = app(scope, receive, send)
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(run)
    finally:
        loop.close()
    return sent


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]", "[::1]:80"]
)
def test_hosts_of_this_machine(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "127.0.0.1:x",
        "10.0.0.1",
        "[::1",
    ],
)
def test_foreign_hosts(host: str) -> None:
    assert not is_loopback_host(host)


FOREIGN = [
    "null",
    "https://evil.example",
    "file://",
    "http://localhost.evil.example",
    "http://localhost:3000",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_foreign_origins(origin: str) -> None:
    assert not is_own_origin(origin, "127.0.0.1:8080")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((("host", "127.0.0.1:8080"),), 200),
        ((("host", "127.0.0.1:8080"), ("origin", "http://localhost:8080")), 200),
        ((("host", "127.0.0.1:8080"), ("origin", "http://localhost:3000")), 403),
        ((("host", "rebound.example"),), 403),
        ((), 403),
        ((("host", "127.0.0.1"), ("host", "evil.example")), 403),
        ((("host", "127.0.0.1:8080"), ("origin", "https://evil.example")), 403),
        ((("host", "127.0.0.1:8080"), ("origin", "null")), 403),
    ],
)
def test_requests_are_judged_by_host_and_origin(headers: tuple[tuple[str, str], ...], status: int) -> None:
    echo = Echo()
    assert call(LoopbackGuard(echo), headers=headers) == status
    assert echo.paths == (["/x"] if status == 200 else [])


def test_refusals_carry_their_request_id_and_are_logged() -> None:
    with capture_logs() as lines:
        start, body = answer(LoopbackGuard(Echo()), "/x", (("host", "evil.example"), ("x-request-id", "r-7")))
    headers = dict(start["headers"])
    assert (headers[b"x-request-id"], headers[b"x-content-type-options"]) == (b"r-7", b"nosniff")
    assert headers[b"content-type"] == b"application/problem+json"
    document = orjson.loads(body["body"])
    assert (document["code"], document["place"], document["request_id"]) == ("foreign_origin", "Host", "r-7")
    assert [(line["event"], line["path"], line["status"]) for line in lines] == [("request", "/x", 403)]


def test_a_request_is_judged_once() -> None:
    foreign = ((b"host", b"127.0.0.1:8080"), (b"origin", b"https://evil.example"))
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    # What ASGI promises of headers is that they can be gone through, not that it can be done twice.
    scope = {"type": "http", "method": "GET", "path": "/x", "headers": iter(foreign)}
    asyncio.run(LoopbackGuard(Echo())(scope, receive, send))
    assert (sent[0]["status"], orjson.loads(sent[1]["body"])["place"]) == (403, "Origin")


@pytest.mark.parametrize(
    ("path", "service", "seen"),
    [
        ("/ingest/v1/events", "ingest", "/ingest/v1/events"),
        ("/api/ingest/v1/events", "ingest", "/ingest/v1/events"),
        ("/readyz", "root", "/readyz"),
        ("/api", "root", "/"),
        ("/apiingest", "root", "/apiingest"),
        ("/ingestion", "root", "/ingestion"),
    ],
)
def test_the_edge_joins_services_by_path(path: str, service: str, seen: str) -> None:
    apps = {"ingest": Echo(), "root": Echo()}
    call(Edge({"/ingest": apps["ingest"]}, apps["root"]), path)
    assert apps.pop(service).paths == [seen]
    assert all(not other.paths for other in apps.values())


def test_a_folder_that_the_engine_would_cut_is_refused(tmp_path: Any) -> None:
    with pytest.raises(RefusedSetting, match="cut the folder's name"):
        Settings(tmp_path / "z?1")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "example.org", ""])
def test_other_hosts_cannot_be_bound_before_accounts_exist(host: str, tmp_path: Any) -> None:
    with pytest.raises(RefusedSetting, match="no accounts"):
        Settings(tmp_path, host=host)
