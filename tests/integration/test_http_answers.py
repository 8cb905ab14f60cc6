"""Plain HTTP connections: bodies read into place, connections kept, broken ones replaced, damage told."""

import copy
import itertools
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tupli.errors import AuthError, InvalidInput, TransportError
from tupli.transport import HttpTransport
from tupli.transport.connections import Owned, connections_to
from tupli.transport.plain import PlainConnections
from tupli.transport.through_httpx import HttpxConnections
from tupli_schemas.framing import FrameReader, Kind, encode_frame

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
Script = Callable[[int], tuple[bytes, bool]]
"""Number of a request (from 0): what is answered, and whether the connection is closed then."""


def received(connection: socket.socket) -> bytes:
    """A whole request, or nothing when the client is gone."""
    data = b""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        told = re.search(rb"(?i)content-length: (\d+)", head)
        if end and len(body) >= (int(told[1]) if told else 0):
            return data
        part = connection.recv(65_536)
        if not part:
            return b""
        data += part


@contextmanager
def serving(script: Script) -> Iterator[tuple[str, list[int]]]:
    """A server that answers by script; its address, and how many connections it took."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken: list[int] = []
    stopped = threading.Event()

    def serve() -> None:
        number = 0
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            taken.append(1)
            with connection:
                close = False
                while not close and received(connection):
                    answer, close = script(number)
                    number += 1
                    connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", taken
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def whole(body: bytes, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def chunks(*parts: bytes, end: bool = True) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return CHUNKED + body + (b"0\r\n\r\n" if end else b"")


def plain(url: str) -> PlainConnections:
    return PlainConnections(url, 10.0, 5.0)


def frames_from(connections: PlainConnections) -> list[tuple[Kind, bytes]]:
    with connections.send("POST", "/q", b"{}", {}) as answer:
        return [(f.kind, bytes(f.payload)) for f in FrameReader().pull(answer.body().readinto)]


def test_frames_are_read_whole_however_the_body_is_cut() -> None:
    body = encode_frame(Kind.ARROW, b"x" * 100_000) + encode_frame(Kind.CLOSE, b"{}")
    cuts = (0, 7, 20, 21, 60_000, 100_019, 100_025, len(body))
    answer = chunks(*(body[a:b] for a, b in itertools.pairwise(cuts)))
    with serving(lambda _: (answer, False)) as (url, taken):
        connections = plain(url)
        for _ in range(3):
            assert frames_from(connections) == [(Kind.ARROW, b"x" * 100_000), (Kind.CLOSE, b"{}")]
        assert len(taken) == 1, "the connection is used again"
        connections.close()


def test_a_kept_connection_that_the_server_closed_is_replaced() -> None:
    with serving(lambda _: (chunks(encode_frame(Kind.CLOSE, b"{}")), True)) as (url, taken):
        connections = plain(url)
        for _ in range(3):
            assert frames_from(connections) == [(Kind.CLOSE, b"{}")]
        assert len(taken) == 3
        connections.close()


def test_a_body_that_breaks_off_is_told() -> None:
    with serving(lambda _: (chunks(encode_frame(Kind.ARROW, b"abc")[:22], end=False), True)) as (url, _taken):
        connections = plain(url)
        with pytest.raises(TransportError, match="http://127"):
            frames_from(connections)
        connections.close()


def test_nobody_listens() -> None:
    with (
        pytest.raises(TransportError, match="refused"),
        plain("http://127.0.0.1:9").send("POST", "/q", b"", {}),
    ):
        pass


@pytest.mark.parametrize(
    ("url", "proxy", "expected"),
    [
        ("http://127.0.0.1:1", "", PlainConnections),
        ("http://example.org", "http://proxy:3128", HttpxConnections),
        ("https://example.org", "", HttpxConnections),
        ("http://user:word@example.org", "", HttpxConnections),
    ],
)
def test_only_what_needs_neither_proxy_nor_tls_is_plain(
    monkeypatch: pytest.MonkeyPatch, url: str, proxy: str, expected: type
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy)
    connections = connections_to(url)
    assert isinstance(connections, expected)
    connections.close()


def test_a_hanging_server_is_not_asked_twice() -> None:
    requests: list[int] = []
    hang = threading.Event()

    def script(number: int) -> tuple[bytes, bool]:
        requests.append(number)
        if number:
            hang.wait(5)
        return whole(b"{}"), False

    with serving(script) as (url, _taken):
        connections = PlainConnections(url, 0.3, 5.0)
        with connections.send("GET", "/", b"", {}) as answer:
            assert answer.read() == b"{}"
        begun = time.monotonic()
        with pytest.raises(TransportError, match="timed out"), connections.send("GET", "/", b"", {}):
            pass
        assert time.monotonic() - begun < 2
        assert requests == [0, 1]
        hang.set()
        connections.close()


def test_the_answer_to_a_body_that_is_too_large_is_heard() -> None:
    """The server answers after the head, and reads no more of it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1_000)
            connection.sendall(whole(b"{}", "413 Content Too Large"))
            time.sleep(0.2)  # it is there before the reset that unread bytes cause

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    connections = plain(f"http://127.0.0.1:{listener.getsockname()[1]}")
    with connections.send("POST", "/", bytes(32 << 20), {}) as answer:
        assert answer.status == 413
        connections.close()
    thread.join(5)
    listener.close()


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"", b"[]", b"{}"])
def test_a_success_that_is_not_ours_accepts_nothing(body: bytes) -> None:
    """As of a hotspot that answers everything."""
    with serving(lambda _: (whole(body), False)) as (url, _taken):
        transport = HttpTransport(url)
        with pytest.raises(TransportError, match="the answer"):
            transport.send_events(b"")
        transport.close()


def test_a_forked_child_opens_its_own_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda _: (whole(b"{}"), False)) as (url, taken):
        owned = Owned(url)
        mine = owned.get()
        with mine.send("GET", "/", b"", {}) as answer:
            answer.read()
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert owned.get() is not mine
        owned.close()
        monkeypatch.undo()
        with mine.send("GET", "/", b"", {}) as answer:
            answer.read()
        assert len(taken) == 1, "the parent's was neither used nor closed"
        mine.close()


def test_connections_stay_behind_when_a_transport_is_copied() -> None:
    with serving(lambda _: (whole(b'{"state": "idle"}'), False)) as (url, taken):
        transport = HttpTransport(url)
        assert transport.rebuild_state() == {"state": "idle"}
        other = copy.deepcopy(transport)
        other.close()
        assert transport.rebuild_state() == {"state": "idle"}
        assert len(taken) == 1, "closing the copy's closed nothing of the first"
        transport.close()
        assert (other.address, other.rebuild_state()) == (url, {"state": "idle"})
        assert len(taken) == 2
        other.close()


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:port", "http://[1", "x"])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidInput, match="url"):
        HttpTransport(url)


def test_a_token_that_no_header_can_carry_is_told() -> None:
    with pytest.raises(AuthError, match="token"):
        HttpTransport("http://127.0.0.1:9", "a\n").rebuild_state()
