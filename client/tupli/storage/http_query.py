"""The query service over HTTP."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx
import orjson

from tupli.errors import InvalidInput, TransportError, TupliError, error_of
from tupli_schemas.problems import Problem

DEFAULT_URL: Final = "http://127.0.0.1:8080"
_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)
_JSON: Final = {"content-type": "application/json", "accept-encoding": "identity"}


class HttpQuery:
    """A `QueryPort` over HTTP (`POST /query/v1/...`). Proxies and TLS as httpx takes them.

    Args:
        url: Address of the server, `TUPLI_URL`, or the local one.
        token: A bearer token, or a function that gives the current one; `TUPLI_TOKEN` when left out.
    """

    def __init__(self, url: str | None = None, token: str | Callable[[], str] | None = None) -> None:
        self._url = (url or os.environ.get("TUPLI_URL") or DEFAULT_URL).rstrip("/")
        if not self._url.startswith(("http://", "https://")):
            raise InvalidInput(f"{self._url!r} is not an http address", place="url")
        self._token = token if token is not None else os.environ.get("TUPLI_TOKEN", "")
        self._client: httpx.Client | None = None
        self._pid = 0
        self._inherited: list[httpx.Client] = []

    @property
    def address(self) -> str:
        """The server's address, without a trailing slash."""
        return self._url

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON answer; see `QueryPort`."""
        with self._sent(path, body) as response:
            try:
                answer: dict[str, Any] = orjson.loads(response.read())
            except (httpx.TransportError, httpx.StreamError) as error:
                raise self._unreachable(error) from error
            except orjson.JSONDecodeError as error:
                raise TransportError(f"{self._url}{path}: the answer is not JSON") from error
            return answer

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
        """The bytes of a framed answer; see `QueryPort`."""
        with self._sent(path, body) as response:
            yield self._chunks(response)

    def close(self) -> None:
        """Close the connections of this process; the next question opens new ones."""
        client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            client.close()

    @contextmanager
    def _sent(self, path: str, body: Mapping[str, Any]) -> Iterator[httpx.Response]:
        client = self._connected()
        request = client.build_request(
            "POST", self._url + path, content=orjson.dumps(body), headers=self._headers()
        )
        try:
            response = client.send(request, stream=True)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        try:
            if not response.is_success:
                raise self._refused(response)
            yield response
        finally:
            response.close()

    def _chunks(self, response: httpx.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_raw()
        except (httpx.TransportError, httpx.StreamError) as error:
            raise self._unreachable(error) from error

    def _headers(self) -> dict[str, str]:
        token = self._token() if callable(self._token) else self._token
        return _JSON | ({"authorization": f"Bearer {token}"} if token else {})

    def _unreachable(self, error: Exception) -> TransportError:
        return TransportError(f"{self._url}: {str(error) or type(error).__name__}")

    def _refused(self, response: httpx.Response) -> TupliError:
        try:
            document = orjson.loads(response.read())
            problem = Problem.from_json(document if isinstance(document, dict) else {})
        except (orjson.JSONDecodeError, httpx.TransportError, httpx.StreamError):
            problem = Problem(
                "internal", f"the server answered {response.status_code} without a problem document"
            )
        after = response.headers.get("retry-after", "")
        return error_of(problem, response.status_code, retry_after=float(after) if after.isdigit() else None)

    def _connected(self) -> httpx.Client:
        if self._client is not None and self._pid != os.getpid():
            self._inherited.append(self._client)  # the parent's sockets: neither used nor closed here
            self._client = None
        if self._client is None:
            self._pid = os.getpid()
            self._client = httpx.Client(timeout=_TIMEOUT, headers={"user-agent": "tupli-client"})
        return self._client
