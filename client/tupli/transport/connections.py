"""HTTP connections: plain ones of our own, or httpx's where a proxy or TLS is on the way.

httpx costs half a second of imports, and reads a large body in 64 KiB pieces, each with some 60 us of Python around
it; that alone bounds a pull to about a million steps a second. A plain connection reads straight into the memory
where a frame belongs.
"""

import atexit
import os
import urllib.request
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from tupli.transport.base import Body
from tupli.transport.plain import PlainConnections

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

    def send(
        self, method: str, path: str, body: Body, headers: Mapping[str, str]
    ) -> AbstractContextManager[HttpAnswer]:
        """The answer to a request that may be sent again without harm. Raises: TransportError."""

    def close(self) -> None:
        """Close what is open."""


def connections_to(url: str, seconds: float = READ_SECONDS) -> Connections:
    """The connections for an address; `seconds` bounds each wait for the other side, connecting `CONNECT_SECONDS`."""
    connecting = min(seconds, CONNECT_SECONDS)
    if is_plain(url):
        return PlainConnections(url, seconds, connecting)
    made: Connections = import_module("tupli.transport.through_httpx").HttpxConnections(
        url, seconds, connecting
    )
    return made


def is_plain(url: str) -> bool:
    """Whether neither proxy, TLS nor credentials in the address are on the way."""
    parts = urlsplit(url)
    return bool(
        parts.scheme == "http" and parts.hostname and not parts.username and not _has_proxy(parts.hostname)
    )


def _has_proxy(host: str) -> bool:
    proxies = urllib.request.getproxies()
    return bool(proxies.keys() & {"http", "all"}) and not urllib.request.proxy_bypass(host)


class Owned:
    """Connections of this process alone: a forked child makes its own, and leaves its parent's sockets alone.

    They are opened by the first request, closed when this object is gone or the interpreter ends, and stay behind when
    it is copied.
    """

    def __init__(self, url: str, seconds: float = READ_SECONDS) -> None:
        self._url = url
        self._seconds = seconds
        self._pid = 0
        self._connections: Connections | None = None
        self._inherited: list[Connections] = []
        if not is_plain(url):
            # Now, not by the thread that ships: a fork in the middle of its import would leave the child a held lock.
            import_module("tupli.transport.through_httpx")

    def get(self) -> Connections:
        """The connections."""
        if self._connections is not None and self._pid != os.getpid():
            self._inherited.append(self._connections)
            self._connections = None
        if self._connections is None:
            self._pid = os.getpid()
            self._connections = connections_to(self._url, self._seconds)
            weakref.finalize(self, _close, self._connections, self._pid).atexit = False
            _open.add(self)
        return self._connections

    def close(self) -> None:
        """Close those of this process; the next question opens new ones."""
        connections, self._connections = self._connections, None
        if connections is not None and self._pid == os.getpid():
            connections.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_connections": None, "_inherited": []}


def _close(connections: Connections, pid: int) -> None:
    if os.getpid() == pid:
        connections.close()


_open: "weakref.WeakSet[Owned]" = weakref.WeakSet()


def _close_all() -> None:
    for owned in list(_open):
        owned.close()


# Not a finalizer's `atexit`, whose turn depends on who made one first: what is registered at the import comes after
# all who still send something at exit.
atexit.register(_close_all)
