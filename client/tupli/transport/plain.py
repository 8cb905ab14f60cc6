"""HTTP/1.1 without proxy and TLS, on connections of our own."""

import contextlib
import http.client
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from tupli.errors import TransportError
from tupli.transport.base import Body

_ERRORS: Final = (OSError, http.client.HTTPException, UnicodeError)


class PlainConnections:
    """Connections that are kept, and opened when all are in use. Requests may come from any thread.

    Args:
        url: The server's address.
        seconds: How long to wait for the other side while sending and reading.
        connecting: How long to wait for a connection.
    """

    def __init__(self, url: str, seconds: float, connecting: float) -> None:
        parts = urlsplit(url)
        self._url = url
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._prefix = parts.path.rstrip("/")
        self._seconds, self._connecting = seconds, connecting
        self._idle: list[http.client.HTTPConnection] = []

    @contextmanager
    def send(self, method: str, path: str, body: Body, headers: Mapping[str, str]) -> Iterator["PlainAnswer"]:
        """The answer; its connection is used again when it was read to the end."""
        connection, response = self._sent(method, path, body, headers)
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
        while kept := self._kept():
            kept.close()

    def _kept(self) -> http.client.HTTPConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _sent(
        self, method: str, path: str, body: Body, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        every = dict(headers)
        if not isinstance(body, bytes):
            every["content-length"] = str(sum(map(len, body)))
        while True:
            kept = self._kept()
            connection = kept or http.client.HTTPConnection(self._host, self._port, timeout=self._connecting)
            try:
                if kept is None:
                    self._open(connection)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    # The answer to a body that is too large may come before all of it was taken.
                    connection.request(method, self._prefix + path, body or None, every)
                return connection, connection.getresponse()
            except _ERRORS as error:
                connection.close()
                if kept is None or isinstance(error, TimeoutError):
                    raise unreachable(self._url, error) from error
                # The server had closed it meanwhile; asking again does no harm.

    def _open(self, connection: http.client.HTTPConnection) -> None:
        connection.connect()
        connection.sock.settimeout(self._seconds)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class PlainAnswer:
    """An `HttpAnswer`, and `Readable`."""

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
            raise unreachable(self._url, error) from error

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
            raise unreachable(self._url, error) from error
        return got


def unreachable(url: str, error: Exception) -> TransportError:
    """What an error of a connection means to the caller."""
    return TransportError(f"{url}: {str(error) or type(error).__name__}")
