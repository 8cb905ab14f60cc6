"""HTTP through httpx: its proxies, certificates and credentials. Imported by those who need them, and by nobody else."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from tupli.transport.base import Body, whole
from tupli.transport.plain import unreachable


class HttpxConnections:
    """`Connections` of httpx; the arguments are those of `PlainConnections`."""

    def __init__(self, url: str, seconds: float, connecting: float) -> None:
        self._url = url
        self._client = httpx.Client(timeout=httpx.Timeout(seconds, connect=connecting))

    @contextmanager
    def send(self, method: str, path: str, body: Body, headers: Mapping[str, str]) -> Iterator["HttpxAnswer"]:
        """See `Connections`."""
        try:
            request = self._client.build_request(
                method, self._url + path, content=whole(body), headers=dict(headers)
            )
            response = self._client.send(request, stream=True)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise unreachable(self._url, error) from error
        try:
            yield HttpxAnswer(self._url, response)
        finally:
            response.close()

    def close(self) -> None:
        """See `Connections`."""
        self._client.close()


class HttpxAnswer:
    """An `HttpAnswer` of httpx."""

    def __init__(self, url: str, response: httpx.Response) -> None:
        self._url = url
        self._response = response
        self.status = response.status_code

    def header(self, name: str) -> str:
        """See `HttpAnswer`."""
        return str(self._response.headers.get(name, ""))

    def read(self) -> bytes:
        """See `HttpAnswer`."""
        try:
            return self._response.read()
        except (httpx.TransportError, httpx.StreamError, httpx.DecodingError) as error:
            raise unreachable(self._url, error) from error

    def body(self) -> Iterator[bytes]:
        """See `HttpAnswer`."""
        try:
            yield from self._response.iter_raw()
        except (httpx.TransportError, httpx.StreamError) as error:
            raise unreachable(self._url, error) from error
