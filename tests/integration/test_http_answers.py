"""Plain HTTP connections: bodies read into place, connections kept, broken ones replaced, damage told."""

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tupli.errors import TransportError
from tupli.storage.answers import HttpxConnections, PlainConnections, connections_to
from tupli_schemas.framing import FrameReader, Kind, encode_frame

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
Script = Callable[[int], tuple[bytes, bool]]
"""Number of a request (from 0): what is answered, and whether the connection is closed then."""


def received(connection: socket.socket) -> bytes:
    """A whole request: its body is `{}`, and may come in a packet of its own."""
    data = b""
    while not data.endswith(b"\r\n\r\n{}"):
        part = connection.recv(65_536)
        if not part:
            return b""
        data += part
    return data


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


def chunks(*parts: bytes, end: bool = True) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return CHUNKED + body + (b"0\r\n\r\n" if end else b"")


def frames_from(connections: PlainConnections) -> list[tuple[Kind, bytes]]:
    with connections.post("/q", b"{}", {}) as answer:
        return [(f.kind, bytes(f.payload)) for f in FrameReader().pull(answer.body().readinto)]


def test_frames_are_read_whole_however_the_body_is_cut() -> None:
    body = encode_frame(Kind.ARROW, b"x" * 100_000) + encode_frame(Kind.CLOSE, b"{}")
    cuts = (0, 7, 20, 21, 60_000, 100_019, 100_025, len(body))
    answer = chunks(*(body[a:b] for a, b in itertools.pairwise(cuts)))
    with serving(lambda _: (answer, False)) as (url, taken):
        connections = PlainConnections(url)
        for _ in range(3):
            assert frames_from(connections) == [(Kind.ARROW, b"x" * 100_000), (Kind.CLOSE, b"{}")]
        assert len(taken) == 1, "the connection is used again"
        connections.close()


def test_a_kept_connection_that_the_server_closed_is_replaced() -> None:
    with serving(lambda _: (chunks(encode_frame(Kind.CLOSE, b"{}")), True)) as (url, taken):
        connections = PlainConnections(url)
        for _ in range(3):
            assert frames_from(connections) == [(Kind.CLOSE, b"{}")]
        assert len(taken) == 3
        connections.close()


def test_a_body_that_breaks_off_is_told() -> None:
    with serving(lambda _: (chunks(encode_frame(Kind.ARROW, b"abc")[:22], end=False), True)) as (url, _taken):
        connections = PlainConnections(url)
        with pytest.raises(TransportError, match="http://127"):
            frames_from(connections)
        connections.close()


def test_nobody_listens() -> None:
    with (
        pytest.raises(TransportError, match="refused"),
        PlainConnections("http://127.0.0.1:9").post("/q", b"", {}),
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
