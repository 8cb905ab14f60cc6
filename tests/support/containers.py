"""Where the tests' broker and ClickHouse come from: an address that was given, an official image, or what we bring.

The images are used where Docker works and has them, or can pull them within `PULL_SECONDS`. Nothing is ever skipped.
"""

import gc
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Literal, Protocol

from support.server_process import free_port

KAFKA_IMAGE: Final = "apache/kafka:4.1.0"
CLICKHOUSE_IMAGE: Final = "clickhouse/clickhouse-server:25.8"
PULL_SECONDS: Final = 120.0
_ANSWER_SECONDS: Final = 5

Source = Literal["address", "image", "own"]


class Images(Protocol):
    """A Docker that works."""

    def has(self, image: str) -> bool:
        """Whether the image is there."""
        ...

    def pull(self, image: str) -> bool:
        """Get it; whether that worked."""
        ...


@dataclass(frozen=True)
class Choice:
    """Where a server comes from: the `address`, the `image`, or ours."""

    source: Source
    address: str = ""

    def told(self, image: str, own: str) -> str:
        """In words."""
        return {"address": self.address, "image": f"{image} in Docker", "own": own}[self.source]


def choose(
    given: str,
    image: str,
    docker: Callable[[], Images | None],
    *,
    pull_seconds: float = PULL_SECONDS,
) -> Choice:
    """An address counts before an image, and an image before what we bring."""
    if given:
        return Choice("address", given)
    images = docker()
    if images is None:
        return Choice("own")
    if images.has(image) or _within(pull_seconds, lambda: images.pull(image)):
        return Choice("image")
    return Choice("own")


def _within(seconds: float, work: Callable[[], bool]) -> bool:
    """Whether the work was done in time, and worked; what takes longer goes on in the background."""
    worked: list[bool] = []
    thread = threading.Thread(target=lambda: worked.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    return worked == [True]


class _Docker:
    """The Docker that the environment names."""

    def __init__(self, module: Any, client: Any) -> None:
        self._module = module
        self._client = client

    def has(self, image: str) -> bool:
        try:
            self._client.images.get(image)
        except self._module.errors.ImageNotFound:
            return False
        return True

    def pull(self, image: str) -> bool:
        try:
            with closing(self._module.from_env(timeout=int(PULL_SECONDS))) as client:
                client.images.pull(image)
        except (self._module.errors.DockerException, OSError):  # no registry, no right, no space
            return False
        return True


def working_docker() -> _Docker | None:
    """Docker, where it answers and its client is installed."""
    if find_spec("docker") is None:
        return None
    docker: Any = import_module("docker")  # it ships no types
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the client forgets its socket when nobody answers
        client = _answering(docker)
        gc.collect()
    return None if client is None else _Docker(docker, client)


def _answering(docker: Any) -> Any | None:
    try:
        client = docker.from_env(timeout=_ANSWER_SECONDS)
    except docker.errors.DockerException:
        return None
    try:
        client.ping()
    except (docker.errors.DockerException, OSError):
        client.close()
        return None
    return client


@contextmanager
def kafka_container() -> Iterator[str]:
    """A broker out of the official image; its address."""
    port = free_port()
    environment = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://localhost:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    with _container(KAFKA_IMAGE, port, port, environment, "Kafka Server started"):
        yield f"127.0.0.1:{port}"


@contextmanager
def clickhouse_container(user: str, password: str) -> Iterator[int]:
    """A server out of the official image; the port of its HTTP interface on this machine."""
    port = free_port()
    environment = {
        "CLICKHOUSE_USER": user,
        "CLICKHOUSE_PASSWORD": password,
        "CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT": "1",
    }
    with _container(CLICKHOUSE_IMAGE, 8123, port, environment, "Logging .* to"):
        yield port


@contextmanager
def _container(
    image: str, inside: int, port: int, environment: Mapping[str, str], ready: str
) -> Iterator[None]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    container = DockerContainer(image).with_bind_ports(inside, port)
    for name, value in environment.items():
        container.with_env(name, value)
    container.waiting_for(LogMessageWaitStrategy(ready))
    with container:
        yield
