"""The query service over HTTP."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson

from tupli.errors import TransportError
from tupli.transport.endpoint import Endpoint, Token

if TYPE_CHECKING:
    from tupli.datasets.port import Readable

_JSON: Final = {"content-type": "application/json"}


class HttpQuery:
    """A `QueryPort` over HTTP (`POST /query/v1/...`).

    Args:
        url: Address of the server, `TUPLI_URL`, or the local one.
        token: A bearer token, or a function that gives the current one; `TUPLI_TOKEN` when left out.
    """

    def __init__(self, url: str | None = None, token: Token | None = None) -> None:
        self._server = Endpoint(url, token, by_status=True)

    @property
    def address(self) -> str:
        """The server's address, without a trailing slash."""
        return self._server.address

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON answer; see `QueryPort`."""
        with self._server.answer("POST", path, orjson.dumps(body), _JSON) as response:
            try:
                answer: dict[str, Any] = orjson.loads(response.read())
            except orjson.JSONDecodeError as error:
                raise TransportError(f"{self.address}{path}: the answer is not JSON") from error
            return answer

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator["Iterator[bytes] | Readable"]:
        """The bytes of a framed answer; see `QueryPort`."""
        with self._server.answer("POST", path, orjson.dumps(body), _JSON) as response:
            yield response.body()

    def close(self) -> None:
        """Close the connections of this process; the next question opens new ones."""
        self._server.close()
