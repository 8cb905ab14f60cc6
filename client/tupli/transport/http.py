"""The HTTP transport."""

import hashlib
import os
import time
from collections.abc import Callable
from typing import Any, Final

import httpx

from tupli.errors import InvalidInput, TransportError, TupliError, error_of
from tupli.transport.base import SendResult
from tupli.transport.connections import connections_of
from tupli_schemas.catalog import Command, encode_command
from tupli_schemas.ids import id_text
from tupli_schemas.problems import Problem

EVENTS_TYPE: Final = "application/vnd.tupli.events"
DEFAULT_URL: Final = "http://127.0.0.1:8080"
_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_POLL_SECONDS: Final = 0.1
_COMMAND_SECONDS: Final = 30.0


class HttpTransport:
    """Events and commands over HTTP (`POST /ingest/v1/...`). Proxies and TLS as httpx takes them.

    Args:
        url: Address of the server, `TUPLI_URL`, or the local one.
        token: A bearer token, or a function that gives the current one; `TUPLI_TOKEN` when left out.
        timeout: Seconds for one request, connecting apart.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | Callable[[], str] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        self._url = (url or os.environ.get("TUPLI_URL") or DEFAULT_URL).rstrip("/")
        if not self._url.startswith(("http://", "https://")):
            raise InvalidInput(f"{self._url!r} is not an http address", place="url")
        self._token = token if token is not None else os.environ.get("TUPLI_TOKEN", "")
        self._timeout = _TIMEOUT if timeout is None else httpx.Timeout(timeout, connect=min(timeout, 5.0))
        self._client: httpx.Client | None = None
        self._pid = 0
        self._inherited: list[httpx.Client] = []

    @property
    def address(self) -> str:
        """The server's address, without a trailing slash."""
        return self._url

    @property
    def identity(self) -> str:
        """A fingerprint of a fixed token; empty without one or when it changes by itself."""
        if callable(self._token) or not self._token:
            return ""
        return hashlib.sha256(self._token.encode()).hexdigest()[:16]

    def send_events(self, body: bytes) -> SendResult:
        """Deliver framed events; see `Transport`."""
        answer = self._call("POST", "/ingest/v1/events", body, {"content-type": EVENTS_TYPE}).json()
        return SendResult(
            int(answer.get("accepted", 0)), answer.get("streams", {}), int(answer.get("linger_ms") or 0)
        )

    def command(self, command: Command) -> dict[str, Any]:
        """The result of a catalogue command; waits for the verdict when the server needs longer."""
        headers = {"content-type": "application/json"}
        response = self._call("POST", "/ingest/v1/commands", encode_command(command), headers)
        deadline = time.monotonic() + _COMMAND_SECONDS
        while response.status_code == 202:
            if time.monotonic() > deadline:
                raise TransportError(f"no verdict on command {command.command_id} yet")
            time.sleep(_POLL_SECONDS)
            response = self._call("GET", f"/ingest/v1/commands/{command.command_id}", b"", {})
        result: dict[str, Any] = response.json().get("result") or {}
        return result

    def stream_state(self, stream: bytes) -> dict[str, Any]:
        """What the server has made visible of a stream."""
        state: dict[str, Any] = self._call("GET", f"/ingest/v1/streams/{id_text(stream)}", b"", {}).json()
        return state

    def start_rebuild(self) -> None:
        """Ask the server to fill a new store from its log; the one that already runs is that one."""
        self._call("POST", "/ingest/v1/rebuild", b"", {})

    def rebuild_state(self) -> dict[str, Any]:
        """Of the last rebuild: state (`idle, running, done, failed`), generation, offset, end."""
        state: dict[str, Any] = self._call("GET", "/ingest/v1/rebuild", b"", {}).json()
        return state

    def close(self) -> None:
        """Close the connections of this process."""
        client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            client.close()

    def __getstate__(self) -> dict[str, Any]:
        """Connections stay behind when it is copied or sent to another process."""
        return self.__dict__ | {"_client": None, "_inherited": []}

    def _call(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        token = self._token() if callable(self._token) else self._token
        if token:
            headers["authorization"] = f"Bearer {token}"
        try:
            response = self._connected().request(method, self._url + path, content=body, headers=headers)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise TransportError(f"{self._url}: {str(error) or type(error).__name__}") from error
        if response.is_success:
            return response
        raise _error_of(response)

    def _connected(self) -> httpx.Client:
        if self._client is not None and self._pid != os.getpid():
            self._inherited.append(self._client)  # the parent's sockets: neither used nor closed here
            self._client = None
        if self._client is None:
            self._pid = os.getpid()
            self._client = connections_of(self, self._timeout)
        return self._client


def _error_of(response: httpx.Response) -> TupliError:
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or "code" not in document:
        # Not ours: a proxy on the way, or another server. Nothing that was recorded is given up for its word.
        return TransportError(
            f"{response.url.host} answered {response.status_code} without a problem document"
        )
    problem = Problem.from_json(document)
    after = response.headers.get("retry-after", "")
    return error_of(problem, response.status_code, retry_after=float(after) if after.isdigit() else None)
