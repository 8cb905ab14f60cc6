"""The grown system to measure: a real broker, the store, gateways and workers, each a process of its own."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.kafka_store import Store
from support.clickhouse_process import ClickHouse, own_clickhouse
from support.cluster import Cluster, Process
from support.ingest_service import eventually
from support.kafka_broker import Broker
from tupli_ingest.adapters.clickhouse_client import ClickHouseClient
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_groups import KafkaGroups, group_of
from tupli_ingest.core.errors import LogUnavailable
from tupli_schemas.events import EPISODES_TOPIC

PROFILED: Final = "benchmarks.kafka_profile"
START_SECONDS: Final = 120.0


@dataclass
class Deployment:
    """Topics and tables of its own. With `profile`, workers tell where their time goes, when they end."""

    grown: Cluster
    broker: Broker
    resources: ExitStack
    profile: bool = False
    workers: list[Process] = field(default_factory=list)
    gateway: Process | None = None
    url: str = ""

    def serve(self, *, queries: bool = False) -> str:
        """Start a gateway, with the query service behind the same address if wanted; its address."""
        self.url = self.grown.server(module="tupli_standalone.front") if queries else self.grown.gateway()
        self.gateway = self.grown.processes[-1]
        return self.url

    def work(self, workers: int) -> None:
        """Start workers, and wait until the group has so many members."""
        for _ in range(workers):
            module = PROFILED if self.profile else "tupli_ingest"
            self.workers.append(self.grown.process("worker", module=module))
        eventually(lambda: self._has_joined(workers), START_SECONDS)

    def rest(self) -> list[str]:
        """End the workers in order; what they told, if they are profiled."""
        told = []
        for worker in self.workers:
            worker.end()
            told.append(worker.log.read_text(encoding="utf-8").splitlines()[-1] if self.profile else "")
        self.workers.clear()
        return told

    def begin_again(self, store: ClickHouse) -> None:
        """Let the group, which has no members now, begin at the topic's start, with an empty store."""
        for reader in self.grown.readers:
            reader.commit(group_of(1), EPISODES_TOPIC, 0)
        self.grown.clickhouse = store
        self.grown.run("migrate")

    def store(self, generation: int = 1) -> Store:
        """What a generation shows."""
        client = ClickHouseClient(self.grown.clickhouse.connection)
        self.resources.callback(client.close)
        return Store(client, generation)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids, by what the processes are."""
        store, broker = self.grown.clickhouse.process, self.broker.process
        found = {f"worker {number}": worker.pid for number, worker in enumerate(self.workers, 1)}
        if len(found) == 1:
            found = {"worker": self.workers[0].pid}
        if self.gateway is not None:
            found["gateway"] = self.gateway.pid
        if broker is not None:
            found["broker"] = broker.pid
        if store is not None:
            found["store"] = store.pid
        return found

    def _has_joined(self, workers: int) -> bool:
        for worker in self.workers:
            if not worker.is_running:
                raise RuntimeError(f"a worker has ended:\n{worker.said()}")
        return self._members() == workers

    def _members(self) -> int:
        try:
            return asyncio.run(KafkaGroups(self.grown.kafka).position(group_of(1))).members
        except LogUnavailable:  # a new broker makes its group topic first
            return 0


@contextmanager
def deployment(
    broker: Broker, folder: Path, *, partitions: int = 4, profile: bool = False
) -> Iterator[Deployment]:
    """A deployment whose topics and tables are made; its processes end with the block."""
    folder.mkdir(parents=True)
    kafka = KafkaConnection(brokers=broker.bootstrap, topic_prefix=f"b{uuid.uuid4().hex[:12]}.")
    with ExitStack() as resources:
        store = resources.enter_context(own_clickhouse(folder / "store"))
        grown = Cluster(folder, kafka, store, partitions, {"TUPLI_INGEST_LOG_LEVEL": "warning"})
        resources.callback(grown.close)
        replication = ["--replication", "1", "--min-insync-replicas", "1"]
        grown.run("create-topics", "--partitions", str(partitions), *replication)
        grown.run("migrate")
        yield Deployment(grown, broker, resources, profile)
