"""The ingest service is killed at any moment, or its disk fills up: what was acknowledged is visible, once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.ingest_dump import dump
from support.ingest_sender import Sender, create_benchmark
from support.ingest_service import EVENTS, Service, eventually
from support.ingest_streams import RowItem, StreamOfItems, started
from tupli_ingest.settings import IngestSettings
from tupli_schemas.events import encode_event
from tupli_schemas.framing import Kind, encode_frame
from tupli_schemas.ids import id_text, make_id

TESTS = Path(__file__).parent.parent
SMALL_DISK = (
    "mount -t tmpfs -o size=260m tmpfs {0} && dd if=/dev/zero of={0}/ballast bs=1M count=100 status=none"
)


class Process:
    """The service as a process, started again as often as needed."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder.parent / "server.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, prelude: str = "") -> None:
        program = [sys.executable, "-m", "support.ingest_server", str(self.folder), str(self.port)]
        if prelude:
            script = f"{prelude} && exec {' '.join(program)}"
            program = ["unshare", "-Urm", "sh", "-c", script]
        environment = os.environ | {"PYTHONPATH": str(TESTS), "TMPDIR": str(self.folder.parent)}
        self.process = subprocess.Popen(program, env=environment, stdout=self._log, stderr=self._log)
        eventually(self.is_ready, seconds=60)

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the server ended"
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(timeout=60)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)
        self._log.close()


@pytest.fixture
def server(tmp_path: Path, free_port: int) -> Iterator[Process]:
    folder = tmp_path / "data"
    folder.mkdir()
    server = Process(folder, free_port)
    yield server
    server.close()


@pytest.mark.timeout(300)
def test_killed_at_any_moment_nothing_acknowledged_is_lost_or_doubled(server: Process) -> None:
    server.start()
    create_benchmark(server.url)
    sender = Sender(server.url)
    sender.start()
    for pause in (1.1, 0.3, 0.7):
        time.sleep(pause)
        server.end(signal.SIGKILL)
        server.start()
    time.sleep(0.3)
    sender.ended.set()
    sender.join()
    assert server.end(signal.SIGTERM) == 0
    service = Service(server.folder)
    try:
        assert_all_visible(service, sender.acknowledged)
        before = dump(service.reader, service.database)
        service.http.post("/ingest/v1/rebuild")
        eventually(lambda: service.http.get("/ingest/v1/rebuild").json()["state"] == "done", seconds=60)
        assert dump(service.reader, service.database) == before
    finally:
        service.stop()


def assert_all_visible(service: Service, acknowledged: dict[bytes, int]) -> None:
    service.settled()
    received = service.reader.column(
        "SELECT lower(hex(stream)) || ' ' || toString(length(received)) || ' ' || toString(received[1].2)"
        f" FROM {service.database}.streams FINAL"
    )
    found = {bytes.fromhex(hexed): (count, int(last)) for hexed, count, last in map(str.split, received)}
    assert all(count == "1" for count, _ in found.values())
    assert all(found[stream][1] >= last for stream, last in acknowledged.items())
    expected = service.reader.column(
        f"SELECT sum(received[1].2 + 1) FROM {service.database}.episodes FINAL WHERE notEmpty(received)"
    )
    assert expected == [str(service.count())]
    bad = f"SELECT count() FROM {service.database}.episodes FINAL WHERE status IN ('incomplete', 'conflict')"
    assert service.reader.column(bad) == ["0"]


def heavy_stream(number: int) -> bytes:
    """A request of about 8 MB: an open episode whose infos are long texts."""
    stream = StreamOfItems(make_id(1, number))
    stream.items.append(started(1, 1, stream=stream.stream))
    info = b'"' + b"x" * 400_000 + b'"'
    stream.items += [RowItem(1, step, info=info) for step in range(20)]
    return b"".join(encode_frame(Kind.EVENT, encode_event(event)) for event in stream.events())


@pytest.mark.timeout(300)
def test_a_full_disk_acknowledges_nothing_and_recovers(server: Process) -> None:
    server.start(prelude=SMALL_DISK.format(server.folder))
    create_benchmark(server.url)
    accepted = 0
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as http:
        for number in range(1, 40):
            answer = http.post("/ingest/v1/events", content=heavy_stream(number), headers=EVENTS)
            if answer.status_code != 200:
                break
            accepted += 1
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
        assert server.process is not None
        disk = Path(f"/proc/{server.process.pid}/root") / server.folder.relative_to("/")
        (disk / "filler").write_bytes(bytes(room_above_reserve(disk)))  # the refused request was large
        eventually(lambda: http.get("/readyz").status_code == 503)
        assert received(http, accepted) == [[1, 21]]
        assert http.get(f"/ingest/v1/streams/{id_text(make_id(1, accepted + 1))}").status_code == 404
        for name in ("filler", "ballast"):
            (disk / name).unlink()
        again = http.post("/ingest/v1/events", content=heavy_stream(accepted + 1), headers=EVENTS)
        assert again.status_code == 200
        assert received(http, accepted + 1) == [[1, 21]]
        assert server.is_ready()


def room_above_reserve(disk: Path) -> int:
    """Bytes that are free beyond what the log keeps free, and a little more."""
    stat = os.statvfs(disk)
    return max(stat.f_bavail * stat.f_frsize - IngestSettings().log_reserve_bytes + (2 << 20), 0)


def received(http: httpx.Client, number: int) -> list[list[int]]:
    """The numbers of a heavy stream that are visible, as soon as there are any."""
    path = f"/ingest/v1/streams/{id_text(make_id(1, number))}"
    eventually(lambda: http.get(path).status_code == 200)
    numbers: list[list[int]] = http.get(path).json()["received"]
    return numbers
