"""A server and fresh processes to measure: started here, on loopback, ended here."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

HERE = Path(__file__).parent
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Server:
    """A running `tupli up`."""

    url: str
    pid: int
    data: Path

    def rss(self) -> int:
        """Resident bytes, now."""
        return int(psutil.Process(self.pid).memory_info().rss)


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A `tupli up` on `folder/server`, ready; stopped at the end of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "server"
    url = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tupli_standalone",
                "--data",
                str(data),
                "--port",
                str(port),
                "--log-level",
                "warning",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        wait_ready(url, process)
        yield Server(url, process.pid, data)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Wait until `/readyz` says so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the server did not become ready")


def fresh(
    function: str, *arguments: str, url: str = "", spool: Path | None = None, module: str = "benchmarks.work"
) -> dict[str, Any]:
    """Run a `function` of `module` in a process of its own; the JSON object that it returns.

    The process reports its own growth of resident memory over the work as `rss_growth`, unless it says otherwise.
    """
    env = (
        os.environ
        | {"TUPLI_URL": url, "NO_PROXY": "127.0.0.1"}
        | ({"TUPLI_SPOOL_DIR": str(spool)} if spool else {})
    )
    command = [sys.executable, "-m", module, function, *arguments]
    done = subprocess.run(
        command, env=env, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=True, timeout=900
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


class PeakRss:
    """Samples a process's resident memory every 10 ms; `growth` is the peak over what it was at the start."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = self.peak = int(self._process.memory_info().rss)

    @property
    def growth(self) -> int:
        """Bytes."""
        return self.peak - self.before

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.peak = max(self.peak, int(self._process.memory_info().rss))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, int(self._process.memory_info().rss))


def folder_bytes(path: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
