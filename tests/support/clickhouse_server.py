"""ClickHouse's HTTP interface over the engine in this process: the real engine behind the real HTTP driver.

`python clickhouse_server.py PORT FOLDER [CONFIG]` serves until it is ended. What it speaks is what the driver uses:
statements in the body or in `query`, data behind `INSERT ... FORMAT`, parameters, settings, `database`, Basic
authentication, answers as the engine forms them, errors with their code. Statements that come at once run at
once, each on a connection of its own, as a server runs them.

`POST /_fault` with a JSON document makes the next statements fail: see `Fault`.
"""

import base64
import email
import email.message
import json
import re
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import chdb

CONNECT: Any = chdb.connect  # with types or without: see `tupli_query.adapters.chdb_reader`
USER, PASSWORD = "tupli", "only for tests"
_NOT_SETTINGS = {
    *("query", "database", "default_format", "query_id", "session_id", "session_timeout", "session_check"),
    *("user", "password", "quota_key", "role", "compress", "decompress", "buffer_size", "stacktrace"),
    *("client_protocol_version", "wait_end_of_query"),
}
_TRANSPORT_SETTINGS = {
    *("send_progress_in_http_headers", "http_headers_progress_interval_ms", "enable_http_compression"),
    *("cancel_http_readonly_queries_on_client_close", "http_write_exception_in_output_format"),
}
_INSERT = re.compile(r"^\s*INSERT\s+INTO\s.*?(?P<format>\sFORMAT\s+\w+)\s*$", re.IGNORECASE | re.DOTALL)
_INSERT_HEAD = re.compile(rb"(?is)(\s*INSERT\s+INTO\s[^;]*?\sFORMAT\s+\w+)[ \t]*\n")
_FORMAT = re.compile(r"\sFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
MAX_FIELD_BYTES = 128 * 1024  # http_max_field_value_size
_CODE = re.compile(r"Code: (\d+)")


@dataclass
class Fault:
    """What goes wrong, for the statements whose text has `match` in it, `times` times (-1: until told otherwise).

    `kind`: `code` answers with this error code and does nothing; `late_code` does it and answers with the
    code; `hang` waits `seconds`, then answers as always; `late` does it and then waits `seconds`; `drop` ends the
    connection without an answer; `late_drop` does it and then ends the connection. `hold` waits until the next
    fault is asked for, then does it; `hold_drop` waits as long and does not; `late_hold` does it, then waits.
    `GET /_seen` tells how many statements are held, and how many inserts that `match` were done since.
    """

    kind: str = ""
    match: str = ""
    code: int = 0
    seconds: float = 0.0
    times: int = -1
    over: threading.Event = field(default_factory=threading.Event)
    """Set when another fault is asked for."""


class Engine(ThreadingHTTPServer):
    """The server: the engine's folder, and the fault that is asked for."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], folder: Path, config: str = "") -> None:
        super().__init__(address, Statements)
        self.source = f"{folder}?config-file={config}" if config else str(folder)
        self.keeper = CONNECT(self.source)  # the engine lives as long as one connection does
        self._fault = Fault()
        self._lock = threading.Lock()
        self.held = self.inserts = 0

    def set_fault(self, fault: Fault) -> None:
        with self._lock:
            self._fault.over.set()
            self._fault, self.held, self.inserts = fault, 0, 0

    def hold(self, fault: Fault) -> None:
        """Wait until another fault is asked for."""
        with self._lock:
            self.held += not fault.over.is_set()
        fault.over.wait()

    def inserted(self, sql: str) -> None:
        with self._lock:
            self.inserts += self._fault.match in sql

    def fault_of(self, sql: str) -> Fault | None:
        with self._lock:
            fault = self._fault
            if not fault.kind or fault.match not in sql or not fault.times:
                return None
            fault.times -= 1
            return fault


class Statements(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are sent one after the other
    server: Engine

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self._body())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class names it
        """Nothing: tests read what fails."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _serve(self, body: bytes) -> None:
        url = urlsplit(self.path)
        if url.path == "/ping":
            self._answer(200, b"Ok.\n")
        elif url.path == "/_seen":
            seen = {"held": self.server.held, "inserts": self.server.inserts}
            self._answer(200, json.dumps(seen).encode())
        elif url.path == "/_fault":
            self.server.set_fault(Fault(**json.loads(body)))
            self._answer(200, b"")
        elif not self._is_known():
            self._refuse(
                516, f"Code: 516. DB::Exception: {USER}: Authentication failed. (AUTHENTICATION_FAILED)"
            )
        else:
            asked = dict(parse_qsl(url.query, keep_blank_values=True))
            kind = self.headers.get("Content-Type", "")
            if kind.startswith("multipart/form-data"):  # what would make the address too long
                asked, body = asked | _form(kind, body), b""
            self._statement(asked, body)

    def _is_known(self) -> bool:
        given = self.headers.get("Authorization", "")
        return given == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    def _statement(self, asked: dict[str, str], body: bytes) -> None:
        sql, data = _statement_and_data(asked.get("query", ""), body)
        fault = self.server.fault_of(sql)
        if fault is not None and not self._before(fault):
            return
        try:
            answer, form = self._run(sql, asked, data)
        except RuntimeError as error:  # ChdbError is one
            code = _CODE.search(str(error))
            self._refuse(int(code[1]) if code else 1001, str(error))
            return
        if fault is None or self._after(fault):
            self._answer(200, answer, {"X-ClickHouse-Format": form})

    def _before(self, fault: Fault) -> bool:
        """What goes wrong before the statement runs; whether it runs."""
        if fault.kind == "code":
            self._refuse(fault.code, f"Code: {fault.code}. DB::Exception: as asked for. (TEST)")
            return False
        if fault.kind == "hang":
            time.sleep(fault.seconds)
        if fault.kind in ("hold", "hold_drop"):
            self.server.hold(fault)
        if fault.kind in ("drop", "hold_drop"):
            self.close_connection = True
            return False
        return True

    def _after(self, fault: Fault) -> bool:
        """What goes wrong when it has run; whether it is answered."""
        if fault.kind == "late":
            time.sleep(fault.seconds)
        if fault.kind == "late_hold":
            self.server.hold(fault)
        if fault.kind == "late_code":
            self._refuse(fault.code, f"Code: {fault.code}. DB::Exception: as asked for. (TEST)")
            return False
        if fault.kind == "late_drop":
            self.close_connection = True
            return False
        return True

    def _run(self, sql: str, asked: dict[str, str], data: bytes) -> tuple[bytes, str]:
        params = {
            name.removeprefix("param_"): value for name, value in asked.items() if name.startswith("param_")
        }
        connection = CONNECT(self.server.source)
        try:
            for name, value in asked.items():
                if name not in _NOT_SETTINGS | _TRANSPORT_SETTINGS and not name.startswith("param_"):
                    connection.query(f"SET {name} = '{_quoted(value)}'")
            if asked.get("database"):
                connection.query(f"USE `{asked['database']}`")
            if data:
                return self._insert(connection, sql, data), "TabSeparated"
            found = _FORMAT.search(sql)
            form = found[1] if found else asked.get("default_format", "TabSeparated")
            return connection.query(sql, form, params=params).bytes(), form
        finally:
            connection.close()

    def _insert(self, connection: Any, sql: str, data: bytes) -> bytes:
        """The engine in process reads data from files only."""
        match = _INSERT.match(sql)
        if match is None:
            raise RuntimeError("Code: 62. DB::Exception: data without INSERT ... FORMAT. (SYNTAX_ERROR)")
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            source = f" FROM INFILE '{file.name}' SETTINGS storage_file_read_method = 'pread'"
            connection.query(sql[: match.start("format")] + source + match["format"])
        self.server.inserted(sql)
        return b""

    def _refuse(self, code: int, told: str) -> None:
        status = 403 if code == 516 else 404 if code in (60, 81) else 500
        self._answer(status, told.encode(), {"X-ClickHouse-Exception-Code": str(code)})

    def _answer(self, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(body))}
        headers |= {"X-ClickHouse-Timezone": "UTC", "X-ClickHouse-Server-Display-Name": "tests"}
        with suppress(ConnectionError):  # the client has given up
            self.send_response(status)
            for name, value in (headers | (more or {})).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)


def _form(kind: str, body: bytes) -> dict[str, str]:
    """The fields of a form; larger ones than a server takes by default are refused as it would."""
    message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    fields = {}
    for part in message.get_payload():
        assert isinstance(part, email.message.Message)
        value = part.get_payload(decode=True)
        name = part.get_param("name", header="Content-Disposition")
        assert isinstance(name, str)
        assert isinstance(value, bytes)
        assert len(value) <= MAX_FIELD_BYTES, f"field {name} has {len(value)} bytes"
        fields[name] = value.decode()
    return fields


def _statement_and_data(query: str, body: bytes) -> tuple[str, bytes]:
    """The body goes on where the query ends; behind `INSERT ... FORMAT name` and a line's end data begins."""
    if query and _INSERT.match(query):
        return query, body
    whole = query.encode() + b"\n" * bool(query) + body
    found = _INSERT_HEAD.match(whole)
    if found:
        return found[1].decode(), whole[found.end() :]
    return whole.decode(), b""


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def main() -> None:
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with Engine(("127.0.0.1", port), folder, *sys.argv[3:4]) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
