"""A ClickHouse server for tests: the one in TUPLI_TEST_CLICKHOUSE, else `clickhouse_server` in a process."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from support.clickhouse_server import PASSWORD, USER
from support.server_process import free_port
from tupli_ingest.adapters.clickhouse_client import ClickHouseConnection

START_SECONDS = 60


@dataclass
class ClickHouse:
    """A server in `folder` at `port`, the same over restarts."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def connection(self) -> ClickHouseConnection:
        return ClickHouseConnection(
            host="127.0.0.1", port=self.port, user=USER, password=SecretStr(PASSWORD), **self.more
        )

    @property
    def environment(self) -> dict[str, str]:
        """The same, as a process's environment has it."""
        names = {"HOST": "127.0.0.1", "PORT": str(self.port), "USER": USER, "PASSWORD": PASSWORD}
        return {f"TUPLI_CLICKHOUSE_{name}": value for name, value in names.items()}

    def start(self) -> None:
        script = Path(__file__).with_name("clickhouse_server.py")
        self.process = subprocess.Popen([sys.executable, str(script), str(self.port), str(self.folder)])
        until = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the ClickHouse server of the tests did not start")
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            return b"Ok" in urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=2).read()
        except OSError:
            return False

    def fault(self, **members: Any) -> None:
        """Let statements fail; see `clickhouse_server.Fault`. Nothing: let them work again."""
        body = json.dumps(members).encode()
        urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_fault", data=body, timeout=10).close()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None


@contextmanager
def own_clickhouse(folder: Path) -> Iterator[ClickHouse]:
    """A server of our own over the engine in process."""
    server = ClickHouse(folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.kill()
