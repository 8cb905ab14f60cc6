"""One server over HTTP: its address, who asks, and the connections to it."""

import hashlib
import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from tupli.errors import AuthError, InvalidInput
from tupli.transport.base import Body
from tupli.transport.connections import READ_SECONDS, HttpAnswer, Owned
from tupli.transport.kafka_address import is_kafka
from tupli.transport.refusals import refusal_of

DEFAULT_URL: Final = "http://127.0.0.1:8080"
_HEADERS: Final = {"accept-encoding": "identity", "user-agent": "tupli-client"}

Token = str | Callable[[], str]


class Endpoint:
    """A server over HTTP. Proxies and TLS as httpx takes them from the environment.

    Args:
        url: Its address, `TUPLI_URL`, or the local one.
        token: A bearer token, or a function that gives the current one; `TUPLI_TOKEN` when left out.
        by_status: What an answer that is not ours means, see `refusal_of`.
        seconds: How long to wait for the server, connecting apart.

    Raises:
        InvalidInput: The address is none.
    """

    def __init__(
        self, url: str | None, token: Token | None, *, by_status: bool, seconds: float = READ_SECONDS
    ) -> None:
        self.address = (url or os.environ.get("TUPLI_URL") or DEFAULT_URL).rstrip("/")
        if is_kafka(self.address):
            told = f"{self.address} takes recordings alone: what is read, published or deleted goes to the http address"
            raise InvalidInput(told, place="url")
        if not _is_address(self.address):
            raise InvalidInput(f"{self.address!r} is not an http address", place="url")
        self._token = token if token is not None else os.environ.get("TUPLI_TOKEN", "")
        self._by_status = by_status
        self._seconds = seconds
        self._connections = Owned(self.address, seconds)

    @property
    def identity(self) -> str:
        """A fingerprint of a fixed token; empty without one or when it changes by itself."""
        if callable(self._token) or not self._token:
            return ""
        return hashlib.sha256(self._token.encode()).hexdigest()[:16]

    @property
    def route(self) -> Hashable:
        """The address, the credential (or the function that gives it) and how long to wait."""
        return self.address, _told_apart(self._token), self._seconds

    @contextmanager
    def answer(
        self, method: str, path: str, body: Body = b"", headers: Mapping[str, str] | None = None
    ) -> Iterator[HttpAnswer]:
        """The answer to a request, which succeeded.

        Raises:
            TransportError: Try again. AuthError, NotFound, Conflict, InvalidInput: the server refuses it.
        """
        every = _HEADERS | self._credential() | dict(headers or {})
        with self._connections.get().send(method, path, body, every) as answer:
            if not 200 <= answer.status < 300:
                raise refusal_of(answer, self.address, by_status=self._by_status)
            yield answer

    def close(self) -> None:
        """Close the connections of this process; the next request opens new ones."""
        self._connections.close()

    def _credential(self) -> dict[str, str]:
        token = self._token() if callable(self._token) else self._token
        if not (token.isascii() and token.isprintable()):
            raise AuthError("the token holds characters that no header can carry")
        return {"authorization": f"Bearer {token}"} if token else {}


def _told_apart(token: Token) -> Hashable:
    """What is equal for equal tokens; of a user's function that cannot be compared, which one it is."""
    try:
        hash(token)
    except TypeError:
        return id(token)
    return token


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
