"""The grown system for tests: a real broker, a ClickHouse server, gateways and workers, each a process of its own."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from support.clickhouse_process import ClickHouse, own_clickhouse
from support.ingest_adapters import LetterLimit
from support.ingest_dump import dump
from support.ingest_sender import rows_up_to
from support.ingest_service import eventually
from support.ingest_streams import LAYOUT
from support.kafka_broker import shared_broker
from support.nursery import Forked, Nursery
from support.server_process import free_port
from tupli_ingest.adapters.clickhouse_client import ClickHouseClient
from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.grant_keys import GrantKeys
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_groups import group_of
from tupli_ingest.adapters.kafka_reader import KafkaReader, ThreadLog
from tupli_ingest.adapters.kafka_topics import partitioner
from tupli_ingest.adapters.log_dead_letters import LogDeadLetters
from tupli_ingest.core.direct import DirectDecoder
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import DeadLetter, EpisodeStore
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_ingest.processing.processor import BlockLimits, Engine
from tupli_schemas.events import DIRECT_TOPIC, EPISODES_TOPIC, STREAM_TOPICS
from tupli_schemas.tables import generation_database

PATIENCE_SECONDS = 300.0
"""For so long anything may take: the machine may be busy with other things."""
REFERENCE = 99
"""The generation that a single process fills, for comparison."""


@dataclass
class Process:
    """One process of the deployment."""

    arguments: list[str]
    environment: dict[str, str]
    log: Path
    module: str = "tupli_ingest"
    popen: subprocess.Popen[bytes] | Forked | None = None
    nursery: Nursery | None = None

    def start(self) -> "Process":
        self.log.touch()
        if self.nursery is not None:
            self.popen = self.nursery.fork(self.arguments, self.environment, self.log)
            return self
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        return self

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    @property
    def is_running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def end(self, how: signal.Signals = signal.SIGTERM, seconds: float = 30) -> int:
        """End it; its exit code."""
        self.tell(how)
        return self.ended(seconds)

    def tell(self, how: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        assert self.popen is not None
        if self.popen.poll() is None:
            self.popen.send_signal(how)

    def ended(self, seconds: float = 30) -> int:
        """Wait until it has ended; its exit code."""
        assert self.popen is not None
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"{self.arguments} did not end in {seconds} s:\n{self.said()}") from None

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-4_000:]


@dataclass
class Cluster:
    """A deployment with topics and tables of its own."""

    folder: Path
    kafka: KafkaConnection
    clickhouse: ClickHouse
    partitions: int
    more: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    nursery: Nursery | None = None
    """Where workers come from that are loaded already; None: each is loaded anew."""

    @property
    def environment(self) -> dict[str, str]:
        kafka = {"BROKERS": self.kafka.brokers, "TOPIC_PREFIX": self.kafka.topic_prefix}
        return (
            dict(os.environ)
            | {f"TUPLI_KAFKA_{name}": value for name, value in kafka.items()}
            | self.clickhouse.environment
            | {"TUPLI_INGEST_LOG_LEVEL": "info"}
            | self.more
        )

    def run(self, *arguments: str) -> dict[str, object]:
        """A command that ends; what it answered."""
        done = subprocess.run(
            [sys.executable, "-m", "tupli_ingest", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    def process(
        self, *arguments: str, module: str = "tupli_ingest", nursery: Nursery | None = None
    ) -> Process:
        log = self.folder / f"{module}-{arguments[0].strip('-')}-{len(self.processes)}.log"
        process = Process(list(arguments), self.environment, log, module, nursery=nursery).start()
        self.processes.append(process)
        return process

    def worker(self) -> Process:
        return self.process("worker", nursery=self.nursery)

    def gateway(self) -> str:
        """A gateway that is ready; its address."""
        return self.server("gateway")

    def server(self, *arguments: str, module: str = "tupli_ingest") -> str:
        """A process that serves HTTP and is ready; its address."""
        port = free_port()
        process = self.process(*arguments, "--port", str(port), module=module)
        url = f"http://127.0.0.1:{port}"

        def is_ready() -> bool:
            assert process.is_running, process.said()
            try:
                return httpx.get(f"{url}/readyz", trust_env=False, timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        eventually(is_ready, PATIENCE_SECONDS)
        return url

    def lags(self, generation: int = 1) -> list[int]:
        """Records of each partition that the workers have not committed."""
        group = group_of(generation)
        return [
            reader.end(topic) - reader.checkpoint(group, topic)
            for reader in self.readers
            for topic in STREAM_TOPICS
        ]

    def settled(self, generation: int = 1, seconds: float = PATIENCE_SECONDS) -> None:
        """When the workers have committed all that the log has."""
        eventually(lambda: not any(self.lags(generation)), seconds)

    @property
    def readers(self) -> list[KafkaReader]:
        if not hasattr(self, "_readers"):
            self._readers = [KafkaReader(self.kafka, partition=number) for number in range(self.partitions)]
        return self._readers

    def shown(self, generation: int = 1) -> dict[str, list[bytes]]:
        """What a generation shows of episodes, streams and steps."""
        client = ClickHouseClient(self.clickhouse.connection)
        try:
            found = dump(client, generation_database(generation))
        finally:
            client.close()
        return {name: rows for name, rows in found.items() if name not in _OF_THE_CATALOGUE}

    def dead_letters(self) -> list[DeadLetter]:
        log = ThreadLog(self.kafka)
        try:
            return LogDeadLetters(log, limit=LetterLimit(0), now_ms=lambda: 0).read()
        finally:
            log.close()

    def assert_visible(self, acknowledged: dict[bytes, int], generation: int = 1) -> None:
        """Every acknowledged number of these streams has come, once and without a gap, and nothing is wrong."""
        self.settled(generation)
        shown = self.assert_as_the_log_says(generation)
        assert len(shown["streams"]) == len(acknowledged)
        rows = self.rows_by_stream(generation)
        missing = {
            stream.hex(): last
            for stream, last in acknowledged.items()
            if rows[stream[:12]] < rows_up_to(last)
        }
        assert not missing
        wrong = (b"\tincomplete\t", b"\tconflict\t")
        assert not [line for line in shown["episodes"] if any(word in line for word in wrong)]
        assert self.dead_letters() == []

    def rows_by_stream(self, generation: int = 1) -> dict[bytes, int]:
        """How many rows of steps a generation shows of each stream, by the first bytes of its id."""
        client = ClickHouseClient(self.clickhouse.connection)
        sql = (
            "SELECT concat(hex(substring(episode, 1, 12) AS stream), ' ', toString(count()))"
            f" FROM {generation_database(generation)}.{LAYOUT.table} FINAL GROUP BY stream"
        )
        try:
            found = [line.split() for line in client.column(sql)]
        finally:
            client.close()
        return {bytes.fromhex(stream): int(count) for stream, count in found}

    def assert_as_the_log_says(self, generation: int = 1) -> dict[str, list[bytes]]:
        """The store shows what one process makes of the whole log, in one go; gives what that is."""
        client = ClickHouseClient(self.clickhouse.connection)
        generations = Generations(client)
        generations.drop(REFERENCE)
        generations.make(REFERENCE)
        limit = DeadLetterLimit(ratio=1.0, window=1_000_000, run=1_000_000)
        for reader in self.readers:
            letters = _Forgotten()
            pipeline = Pipeline(generations.open(REFERENCE), letters)
            engine = Engine(REFERENCE, pipeline, reader, reader, BlockLimits(), limit, start=0)
            while engine.committed < reader.end(EPISODES_TOPIC):
                engine.collect()
                engine.pipeline.flush()
                engine.committed = engine.next_offset
            engine.close()
            self._fold_direct(reader, generations.open(REFERENCE))
        client.close()
        expected, shown = self.shown(REFERENCE), self.shown(generation)
        assert shown.keys() == expected.keys()
        for table, rows in expected.items():
            assert shown[table] == rows, f"table {table} differs"
        return shown

    def _fold_direct(self, reader: KafkaReader, store: EpisodeStore) -> None:
        """What went straight to Kafka, into one partition."""
        keys = self.more.get("TUPLI_INGEST_GRANT_KEYS")
        decode = DirectDecoder(GrantKeys(Path(keys) if keys else None), partitioner(self.partitions))
        pipeline, at = Pipeline(store, _Forgotten()), 0
        while records := reader.read(DIRECT_TOPIC, at, max_bytes=1 << 22):
            pipeline.add_items([decode(record) for record in records])
            pipeline.flush()
            at = records[-1].position.offset + 1

    def close(self) -> None:
        for process in self.processes:
            if process.is_running:
                process.end(signal.SIGKILL)
        for reader in self.__dict__.get("_readers", ()):
            reader.close()


_OF_THE_CATALOGUE = {"benchmarks", "publications", "deletions"}


class _Forgotten:
    """Dead letters of the reference: those of the workers are kept already."""

    def put(self, letters: object) -> None:
        """Nothing."""

    def read(self, after: int | None = None, max_records: int = 1_000) -> list[DeadLetter]:
        return []


@contextmanager
def cluster(folder: Path, *, partitions: int = 4, broker: str = "", **more: str) -> Iterator[Cluster]:
    """A deployment whose topics and tables are made; its processes end with the block.

    `broker` is the address of another broker than the one that tests share, or those of several: then each has a copy of
    every record, and all but one of these are there before it is acknowledged.
    """
    copies = broker.count(",") + 1
    prefix = f"t{uuid.uuid4().hex[:12]}."
    with own_clickhouse(folder / "store") as clickhouse:
        kafka = KafkaConnection(brokers=broker or shared_broker(), topic_prefix=prefix)
        made = Cluster(folder, kafka, clickhouse, partitions, more)
        replication = ["--replication", str(copies), "--min-insync-replicas", str(max(copies - 1, 1))]
        made.run("create-topics", "--partitions", str(partitions), *replication)
        made.run("migrate")
        try:
            yield made
        finally:
            made.close()
