"""The query service called in process: its ASGI application behind the client's port."""

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import orjson
from starlette.applications import Starlette

from tupli.errors import error_of
from tupli.storage.api import TupliAPIClient
from tupli_query.adapters.chdb_reader import ChdbReader
from tupli_query.core.service import QueryService
from tupli_query.http.readiness import StoreProbe
from tupli_query.http.routes import make_app
from tupli_schemas.problems import Problem

NOW_NS = 10**9


class InProcessQuery:
    """A `QueryPort` that runs the application on an event loop of its own; bodies come whole."""

    def __init__(self, reader: ChdbReader) -> None:
        self._service = QueryService(reader, lambda: NOW_NS)

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON answer."""
        _, data = self.post(path, orjson.dumps(body))
        answer: dict[str, Any] = orjson.loads(data)
        return answer

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
        """The bytes of the answer, in parts of 100."""
        _, data = self.post(path, orjson.dumps(body))
        yield (data[i : i + 100] for i in range(0, len(data), 100))

    def post(self, path: str, body: bytes) -> tuple[dict[str, str], bytes]:
        """Headers and body of the answer; a problem is raised as the client raises it."""
        status, headers, data = self.raw("POST", path, body)
        if status != 200:
            raise error_of(Problem.from_json(orjson.loads(data)), status)
        return headers, data

    def raw(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer, whatever it is."""
        with ThreadPoolExecutor(2) as threads:
            probe = StoreProbe(self._service.ready, threads)
            app = make_app(self._service, threads, probe, idle_seconds=30)
            return asyncio.run(call(app, method, path, body, headers or {}))


class StorageOver(TupliAPIClient):
    """A storage whose read side is in this process."""

    def __init__(self, reader: ChdbReader, query: Any = None) -> None:
        super().__init__("http://127.0.0.1:9", "")
        self.query = query or InProcessQuery(reader)  # type: ignore[assignment]  # the port is the same


async def call(
    app: Starlette, method: str, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, dict[str, str], bytes]:
    """One request to an ASGI application."""
    sent: list[dict[str, Any]] = []
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": raw, "http_version": "1.1", "scheme": "http", "server": ("test", 80), "client": ("test", 1),
        "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)
    got = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], got, b"".join(bytes(m.get("body", b"")) for m in sent[1:])
