"""The ingest service on a folder, over loopback HTTP, in this process."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from support.ingest_streams import BENCHMARK, LAYOUT
from tupli_ingest.adapters.chdb_client import ChdbClient
from tupli_ingest.app import IngestParts, build
from tupli_ingest.logs import configure_logging
from tupli_ingest.settings import IngestSettings
from tupli_schemas.catalog import Command, CreateBenchmark, encode_command
from tupli_schemas.events import Event, encode_event
from tupli_schemas.framing import Kind, encode_frame

EVENTS = {"content-type": "application/vnd.tupli.events"}
JSON = {"content-type": "application/json"}
SETTINGS = IngestSettings(max_body_bytes=200_000, old_generation_grace_s=0.0, log_reserve_bytes=0)


class Server:
    """uvicorn on a free port of the loopback interface, in a thread."""

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, lifespan="off", ws="none", log_config=None, access_log=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        eventually(lambda: self._server.started)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


class Service:
    """The service, started on a folder, with a client."""

    def __init__(self, folder: Path, settings: IngestSettings = SETTINGS) -> None:
        configure_logging(form="json", level="warning")
        self.parts: IngestParts = build(settings, data_dir=folder)
        self.parts.start()
        self._server = Server(self.parts.app)
        self.http = httpx.Client(base_url=self._server.url, trust_env=False, timeout=30)
        self.reader = ChdbClient(self.parts.store_path)
        self._commands = 0

    def send(self, events: list[Event], *, compress: bool = False) -> Any:
        body = b"".join(encode_frame(Kind.EVENT, encode_event(event), compress=compress) for event in events)
        return self.http.post("/ingest/v1/events", content=body, headers=EVENTS)

    def command(self, command: Command) -> Any:
        return self.http.post("/ingest/v1/commands", content=encode_command(command), headers=JSON)

    def create(self, name: str = "bench", benchmark: bytes = BENCHMARK) -> Any:
        self._commands += 1
        return self.command(
            CreateBenchmark(command_id=f"create-{name}-{self._commands}", benchmark=benchmark, name=name)
        )

    @property
    def database(self) -> str:
        return f"tupli_g{self.parts.generations.serving()}"

    def count(self, table: str = LAYOUT.table) -> int:
        return int(self.reader.column(f"SELECT count() FROM {self.database}.{table} FINAL")[0])

    def settled(self) -> "Service":
        """When all that was accepted is processed."""
        eventually(lambda: self.parts.processor.engine.lag <= 0 and self.parts.projector.lag <= 0)
        return self

    def stop(self) -> None:
        self.reader.close()
        self.http.close()
        self._server.stop()
        self.parts.stop()


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)
