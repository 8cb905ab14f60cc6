"""A real Kafka broker for tests: the one in TUPLI_TEST_KAFKA, else one out of the official image where Docker works,
else one of our own, from jars that Maven fetches.

No broker means a failed run that says what to install, never a skip.
"""

import atexit
import base64
import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from support.containers import KAFKA_IMAGE, Choice, choose, kafka_container, working_docker

HERE = Path(__file__).parent / "kafka"
CACHE = Path(__file__).parents[2] / ".cache" / "kafka"
FETCH_SECONDS = 600
START_SECONDS = 240  # a second or ten; a machine that is busy with other things takes longer


class NoBroker(Exception):
    """There is no broker, and none can be made; the message says what to do."""


@dataclass
class Broker:
    """A broker of our own, in `folder`; `bootstrap` is its address for clients, the same over restarts.

    `behind` is the port of a proxy, when clients that come to `behind_port` are to be sent there. `node` is its number,
    `others` are the controllers of the others in its cluster. `within` is a command that runs others, before its own.
    `more` are properties beside ours, `users` those that it knows, as its tool for making folders takes them.
    """

    folder: Path
    jars: Path
    port: int
    controller_port: int
    behind: int | None = None
    behind_port: int = 0
    process: subprocess.Popen[bytes] | None = None
    node: int = 1
    others: Sequence[str] = ()
    within: Sequence[str] = ()
    more: str = ""
    users: Sequence[str] = ()

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def controller(self) -> str:
        """How the others of its cluster know it."""
        return f"{self.node}@127.0.0.1:{self.controller_port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start; where it has others, it answers when most of them have begun."""
        output = (self.folder / "broker.out").open("ab")
        self.process = subprocess.Popen(
            self._java("-Xmx384m", "-XX:+UseSerialGC", "kafka.Kafka", str(self.folder / "server.properties")),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
        )
        output.close()

    def wait(self) -> None:
        """Wait until it answers."""
        assert self.process is not None
        until = time.monotonic() + START_SECONDS
        while not _answers(self.port):
            if self.process.poll() is not None or time.monotonic() > until:
                raise NoBroker(f"the broker did not start:\n{self.said()}")
            time.sleep(0.1)

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
            self.process = None

    def format(self, cluster: str) -> None:
        """Make its folder, as one of a cluster of this name."""
        (self.folder / "server.properties").write_text(self._properties(), encoding="utf-8")
        named = f"--cluster-id={cluster}"  # it may begin with a dash
        properties = str(self.folder / "server.properties")
        users = [word for user in self.users for word in ("--add-scram", user)]
        command = self._java("kafka.tools.StorageTool", "format", named, "-c", properties, *users)
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise NoBroker(f"the broker's folder cannot be made:\n{done.stdout}{done.stderr}")

    def said(self) -> str:
        """The end of what it printed."""
        return (self.folder / "broker.out").read_text(encoding="utf-8", errors="replace")[-4_000:]

    def _java(self, *arguments: str) -> list[str]:
        options = [argument for argument in arguments if argument.startswith("-X")]
        others = [argument for argument in arguments if not argument.startswith("-X")]
        logging = f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}"
        return [*self.within, "java", *options, logging, "-cp", f"{self.jars}/*", *others]

    def _properties(self) -> str:
        text = (HERE / "server.properties").read_text(encoding="utf-8")
        if self.behind is not None:  # of two lines for one property the later one holds
            text += (HERE / "behind.properties").read_text(encoding="utf-8")
        if self.others:
            text += (HERE / "several.properties").read_text(encoding="utf-8")
        return text.format(
            node=self.node,
            voters=",".join(sorted((self.controller, *self.others))),
            port=self.port,
            controller_port=self.controller_port,
            behind=self.behind,
            behind_port=self.behind_port,
            data=self.folder / "data",
        ) + self.more.format(port=self.port, controller_port=self.controller_port)


@contextmanager
def own_broker(
    folder: Path,
    *,
    behind: int | None = None,
    within: Sequence[str] = (),
    more: str = "",
    users: Sequence[str] = (),
) -> Iterator[Broker]:
    """A broker in `folder`, started; ended with the block. `behind` is the port of a proxy; for the others see `Broker`."""
    port, controller, second = free_ports(3)
    jars = fetched_jars()
    broker = Broker(folder, jars, port, controller, behind, second, within=within, more=more, users=users)
    broker.format(_cluster_name())
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def own_brokers(folder: Path, count: int) -> Iterator[list[Broker]]:
    """A cluster of so many brokers in `folder`, started; ended with the block."""
    ports, name = free_ports(2 * count), _cluster_name()
    brokers = [
        Broker(folder / str(node), fetched_jars(), ports.pop(), ports.pop(), node=node)
        for node in range(1, count + 1)
    ]
    for broker in brokers:
        broker.folder.mkdir(parents=True)
        broker.others = [other.controller for other in brokers if other is not broker]
        broker.format(name)
    try:
        for broker in brokers:
            broker.begin()
        for broker in brokers:
            broker.wait()
        yield brokers
    finally:
        for broker in brokers:
            broker.kill()  # in order, the last ones would wait for the first


@contextmanager
def any_broker(folder: Path) -> Iterator[str]:
    """The address of a broker: one that is there already, or one of our own."""
    choice = chosen_broker()
    if choice.source == "address":
        yield choice.address
    elif choice.source == "image":
        with kafka_container() as address:
            yield address
    else:
        with own_broker(folder) as broker:
            yield broker.bootstrap


@cache
def chosen_broker() -> Choice:
    """Where the session's broker comes from; brokers that a test kills are always our own."""
    return choose(os.environ.get("TUPLI_TEST_KAFKA", ""), KAFKA_IMAGE, working_docker)


_SHARED = ExitStack()
_ADDRESS: list[str] = []


def shared_broker() -> str:
    """The address of the session's broker, started when it is first asked for; of each process of the tests its own."""
    if not _ADDRESS:
        folder = Path(_SHARED.enter_context(tempfile.TemporaryDirectory(prefix="tupli-kafka-")))
        _ADDRESS.append(_SHARED.enter_context(any_broker(folder)))
        atexit.register(_SHARED.close)
    return _ADDRESS[0]


def fetched_jars() -> Path:
    """The folder of the broker's jars; fetched once for each `pom.xml`.

    Raises:
        NoBroker: Java or Maven are missing, or Maven could not fetch them.
    """
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if missing:
        raise NoBroker(
            f"the tests need a Kafka broker, and {' and '.join(missing)} cannot be found: install a Java runtime"
            " (17 or newer) and Maven, or set TUPLI_TEST_KAFKA=host:port"
        )
    pom = HERE / "pom.xml"
    jars = CACHE / hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:  # the tests' processes come at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (jars / ".done").exists():
            _fetch(pom, jars)
    return jars


def _fetch(pom: Path, jars: Path) -> None:
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    if done.returncode:
        raise NoBroker(f"Maven could not fetch the broker:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")
    (jars / ".done").touch()


def _cluster_name() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
