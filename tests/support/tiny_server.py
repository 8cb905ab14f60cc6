"""A small HTTP server that speaks the write side's interface, over `FakeTransport`; with faults to order."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tupli.errors import TupliError
from tupli.transport import FakeTransport
from tupli_schemas.catalog import decode_command
from tupli_schemas.ids import parse_id
from tupli_schemas.problems import Problem


class TinyServer(ThreadingHTTPServer):
    """Keeps events in `kept`.

    Attributes:
        fault: "" (none), "hang", "unavailable", or "no answer": the events are kept, the connection is cut.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.kept = FakeTransport()
        self.fault = ""
        self.hanging = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed, or gave up: nothing to say."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: TinyServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.server.fault == "hang":
            self.server.hanging.set()
            time.sleep(3600)
        if self.server.fault == "unavailable":
            self._refuse(Problem("unavailable", "not now"))
            return
        try:
            if self.path == "/ingest/v1/commands":
                result = self.server.kept.command(decode_command(body))
                self._answer(200, {"verdict": "done", "result": result})
                return
            sent = self.server.kept.send_events(body)
        except TupliError as error:
            self._refuse(error.problem or Problem("invalid_request", str(error)), 422)
            return
        if self.server.fault == "no answer":
            self.close_connection = True
            self.connection.close()
            return
        self._answer(200, {"accepted": sent.accepted, "streams": dict(sent.streams), "linger_ms": 0})

    def do_GET(self) -> None:
        try:
            self._answer(200, self.server.kept.stream_state(parse_id(self.path.rpartition("/")[2])))
        except TupliError:
            self._refuse(Problem("unknown_stream", "no such stream"))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Silent."""

    def _refuse(self, problem: Problem, status: int | None = None) -> None:
        self._answer(status or problem.status, problem.to_json())

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@contextmanager
def tiny_server(port: int = 0) -> Iterator[TinyServer]:
    """A running server on a free port."""
    server = TinyServer(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
