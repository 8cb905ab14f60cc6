"""Answers over HTTP: on plain connections of our own, or through httpx where a proxy or TLS is on the way.

httpx reads a large body in 64 KiB pieces, each with some 60 us of Python around it; that alone bounds a pull to about
a million steps a second. A plain connection reads straight into the memory where a frame belongs.
"""

import http.client
import os
import socket
import urllib.request
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from tupli.errors import TransportError

READ_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 5.0


class HttpAnswer(Protocol):
    """An answer whose body is still to be read."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    def header(self, name: str) -> str:
        """A header; empty when there is none."""

    def read(self) -> bytes:
        """The whole body. Raises: TransportError."""

    def body(self) -> Any:
        """The body as it comes: chunks, or `Readable`. Reading raises: TransportError."""


class Connections(Protocol):
    """Where answers come from."""

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Any:
        """A context manager of the answer. Raises: TransportError."""

    def close(self) -> None:
        """Close what is open."""


def connections_to(url: str) -> Connections:
    """The connections for an address."""
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname and not parts.username and not _has_proxy(parts.hostname):
        return PlainConnections(url)
    return HttpxConnections(url)


def _has_proxy(host: str) -> bool:
    proxies = urllib.request.getproxies()
    return bool(proxies.keys() & {"http", "all"}) and not urllib.request.proxy_bypass(host)


class PlainConnections:
    """HTTP/1.1 without proxy and TLS: connections that are kept, and opened when all are in use."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = url
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._prefix = parts.path.rstrip("/")
        self._idle: list[http.client.HTTPConnection] = []

    @contextmanager
    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Iterator["PlainAnswer"]:
        """The answer; its connection is used again when it was read to the end."""
        connection, response = self._sent(path, body, headers)
        try:
            yield PlainAnswer(self._url, response)
            if response.isclosed() and not response.will_close:
                self._idle.append(connection)
                return
        except BaseException:
            connection.close()
            raise
        connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _sent(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        while True:
            kept = self._idle.pop() if self._idle else None
            try:
                connection = kept or self._opened()
                connection.request("POST", self._prefix + path, body, dict(headers))
                return connection, connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                if kept is None:
                    raise _unreachable(self._url, error) from error
                kept.close()  # the server had closed it meanwhile; asking again does no harm

    def _opened(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_SECONDS)
        connection.connect()
        connection.sock.settimeout(READ_SECONDS)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


class PlainAnswer:
    """An `HttpAnswer` of `http.client`."""

    def __init__(self, url: str, response: http.client.HTTPResponse) -> None:
        self._url = url
        self._response = response
        self.status = response.status

    def header(self, name: str) -> str:
        """See `HttpAnswer`."""
        return self._response.getheader(name) or ""

    def read(self) -> bytes:
        """See `HttpAnswer`."""
        try:
            return self._response.read()
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self._url, error) from error

    def body(self) -> "PlainAnswer":
        """See `HttpAnswer`."""
        return self

    def readinto(self, target: memoryview) -> int:
        """Fill `target`; fewer bytes only at the end. Raises: TransportError."""
        got = 0
        try:
            while got < len(target):
                count = self._response.readinto(target[got:])
                if not count:
                    break
                got += count
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self._url, error) from error
        return got


class HttpxConnections:
    """What httpx makes of proxies, certificates and credentials."""

    def __init__(self, url: str) -> None:
        import httpx  # noqa: PLC0415 - half a second of imports, for those who need it

        self._httpx = httpx
        self._url = url
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        self._client = httpx.Client(timeout=timeout)

    @contextmanager
    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Iterator["HttpxAnswer"]:
        """See `Connections`."""
        errors = (self._httpx.TransportError, self._httpx.InvalidURL)
        request = self._client.build_request("POST", self._url + path, content=body, headers=dict(headers))
        try:
            response = self._client.send(request, stream=True)
        except errors as error:
            raise _unreachable(self._url, error) from error
        try:
            yield HttpxAnswer(self._url, response)
        finally:
            response.close()

    def close(self) -> None:
        """See `Connections`."""
        self._client.close()


class HttpxAnswer:
    """An `HttpAnswer` of httpx."""

    def __init__(self, url: str, response: Any) -> None:
        import httpx  # noqa: PLC0415 - as above

        self._url = url
        self._response = response
        self._errors = (httpx.TransportError, httpx.StreamError)
        self.status = int(response.status_code)

    def header(self, name: str) -> str:
        """See `HttpAnswer`."""
        return str(self._response.headers.get(name, ""))

    def read(self) -> bytes:
        """See `HttpAnswer`."""
        try:
            return bytes(self._response.read())
        except self._errors as error:
            raise _unreachable(self._url, error) from error

    def body(self) -> Iterator[bytes]:
        """See `HttpAnswer`."""
        try:
            yield from self._response.iter_raw()
        except self._errors as error:
            raise _unreachable(self._url, error) from error


class Owned:
    """Connections of this process alone: a forked child makes its own, and leaves its parent's sockets alone.

    They are closed when this object is gone.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._pid = 0
        self._connections: Connections | None = None
        self._inherited: list[Connections] = []

    def get(self) -> Connections:
        """The connections."""
        if self._connections is not None and self._pid != os.getpid():
            self._inherited.append(self._connections)
            self._connections = None
        if self._connections is None:
            self._pid = os.getpid()
            self._connections = connections_to(self._url)
            weakref.finalize(self, _close, self._connections, self._pid).atexit = False
        return self._connections

    def close(self) -> None:
        """Close those of this process; the next question opens new ones."""
        connections, self._connections = self._connections, None
        if connections is not None and self._pid == os.getpid():
            connections.close()


def _close(connections: Connections, pid: int) -> None:
    if os.getpid() == pid:
        connections.close()


def _unreachable(url: str, error: Exception) -> TransportError:
    return TransportError(f"{url}: {str(error) or type(error).__name__}")
