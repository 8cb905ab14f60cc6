"""A ClickHouse server for tests: the one in TUPLI_TEST_CLICKHOUSE, else one out of the official image where Docker
works, else `clickhouse_server` in a process. What makes statements fail, or kills the server, is always the last one.
"""

import atexit
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from support.clickhouse_server import PASSWORD, USER
from support.containers import CLICKHOUSE_IMAGE, Choice, choose, clickhouse_container, working_docker
from support.server_process import free_port
from tupli_ingest.adapters.clickhouse_client import ClickHouseClient, ClickHouseConnection
from tupli_schemas.tables import CONTROL_DATABASE

START_SECONDS = 240  # a second or ten; a machine that is busy with other things takes longer


@dataclass
class ClickHouse:
    """A server in `folder` at `port`, the same over restarts."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    more: dict[str, Any] = field(default_factory=dict)
    config: Path | None = None
    """A configuration of the engine's, see `clickhouse_config`."""

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
        config = [] if self.config is None else [str(self.config)]
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(self.port), str(self.folder), *config]
        )
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

    def seen(self) -> dict[str, int]:
        """How many statements the fault has `held`, and how many `inserts` that match it were done since."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_seen", timeout=10) as answer:
            told: dict[str, int] = json.loads(answer.read())
        return told

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None


@contextmanager
def own_clickhouse(folder: Path, config: Path | None = None) -> Iterator[ClickHouse]:
    """A server of our own over the engine in process."""
    server = ClickHouse(folder, free_port(), config=config)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@cache
def chosen_clickhouse() -> Choice:
    """Where the session's server comes from."""
    return choose(os.environ.get("TUPLI_TEST_CLICKHOUSE", ""), CLICKHOUSE_IMAGE, working_docker)


@contextmanager
def any_clickhouse(folder: Path) -> Iterator[ClickHouseConnection]:
    """A server without our databases: the session's if it is another's or an image, else one of our own."""
    if chosen_clickhouse().source == "own":
        with own_clickhouse(folder) as server:
            yield server.connection
        return
    connection = _shared_connection()
    with closing(ClickHouseClient(connection)) as client:
        found = _ours_in(client)
        if found:
            raise RuntimeError(
                f"the ClickHouse of the tests has {found[0]} already; drop it by hand if it may go"
            )
        try:
            yield connection
        finally:
            for name in _ours_in(client):
                client.command(f"DROP DATABASE IF EXISTS {name} SYNC")


def _ours_in(client: ClickHouseClient) -> list[str]:
    return client.column(
        f"SELECT name FROM system.databases WHERE match(name, '^{CONTROL_DATABASE}(_g[0-9]+)?$')"
    )


_SHARED = ExitStack()


@cache
def _shared_connection() -> ClickHouseConnection:
    """Of the address `http[s]://user:password@host:port`, or of the session's container."""
    if chosen_clickhouse().source == "image":
        port = _SHARED.enter_context(clickhouse_container(USER, PASSWORD))
        atexit.register(_SHARED.close)
        return ClickHouseConnection(host="127.0.0.1", port=port, user=USER, password=SecretStr(PASSWORD))
    url = urlsplit(chosen_clickhouse().address)
    return ClickHouseConnection(
        host=url.hostname or "",
        port=url.port or 8123,
        secure=url.scheme == "https",
        user=unquote(url.username or "default"),
        password=SecretStr(unquote(url.password or "")),
    )
