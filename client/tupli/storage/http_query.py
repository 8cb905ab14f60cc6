"""The query service over HTTP."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import orjson

from tupli.datasets.port import Readable
from tupli.errors import InvalidInput, TransportError, TupliError, error_of
from tupli.storage.answers import HttpAnswer, Owned
from tupli_schemas.problems import Problem

DEFAULT_URL: Final = "http://127.0.0.1:8080"
_JSON: Final = {
    "content-type": "application/json",
    "accept-encoding": "identity",
    "user-agent": "tupli-client",
}


class HttpQuery:
    """A `QueryPort` over HTTP (`POST /query/v1/...`). Proxies and TLS as httpx takes them (`answers`).

    Args:
        url: Address of the server, `TUPLI_URL`, or the local one.
        token: A bearer token, or a function that gives the current one; `TUPLI_TOKEN` when left out.
    """

    def __init__(self, url: str | None = None, token: str | Callable[[], str] | None = None) -> None:
        self._url = (url or os.environ.get("TUPLI_URL") or DEFAULT_URL).rstrip("/")
        if not self._url.startswith(("http://", "https://")):
            raise InvalidInput(f"{self._url!r} is not an http address", place="url")
        self._token = token if token is not None else os.environ.get("TUPLI_TOKEN", "")
        self._connections = Owned(self._url)

    @property
    def address(self) -> str:
        """The server's address, without a trailing slash."""
        return self._url

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON answer; see `QueryPort`."""
        with self._sent(path, body) as response:
            try:
                answer: dict[str, Any] = orjson.loads(response.read())
            except orjson.JSONDecodeError as error:
                raise TransportError(f"{self._url}{path}: the answer is not JSON") from error
            return answer

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Iterator[bytes] | Readable]:
        """The bytes of a framed answer; see `QueryPort`."""
        with self._sent(path, body) as response:
            yield response.body()

    def close(self) -> None:
        """Close the connections of this process; the next question opens new ones."""
        self._connections.close()

    @contextmanager
    def _sent(self, path: str, body: Mapping[str, Any]) -> Iterator[HttpAnswer]:
        with self._connections.get().post(path, orjson.dumps(body), self._headers()) as answer:
            if not 200 <= answer.status < 300:
                raise _refused(answer)
            yield answer

    def _headers(self) -> dict[str, str]:
        token = self._token() if callable(self._token) else self._token
        return _JSON | ({"authorization": f"Bearer {token}"} if token else {})


def _refused(answer: HttpAnswer) -> TupliError:
    try:
        document = orjson.loads(answer.read())
        problem = Problem.from_json(document if isinstance(document, dict) else {})
    except (orjson.JSONDecodeError, TransportError):
        told = f"the server answered {answer.status} without a problem document"
        problem = Problem("internal", told)
    after = answer.header("retry-after")
    return error_of(problem, answer.status, retry_after=float(after) if after.isdigit() else None)
