"""A deployment with a worker, and somebody who may record in it straight to Kafka."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from support import direct_actor
from support.cluster import Cluster, cluster
from support.direct_records import Deployment, Signer
from support.ingest_sender import create_benchmark
from support.ingest_streams import BENCHMARK
from tupli_ingest.adapters.kafka_log import MAX_REQUEST_BYTES
from tupli_schemas.events import DIRECT_TOPIC
from tupli_schemas.ids import id_text

PARTITIONS = 4
Sent = tuple[bytes | None, bytes | None, int | None]
"""Key, value and, where it is not left to the producer, partition."""


@dataclass
class Inside:
    """A deployment with a worker, a benchmark and a key for grants, and somebody who may record in it."""

    grown: Cluster
    deployment: Deployment
    url: str

    @property
    def address(self) -> str:
        kafka = self.grown.kafka
        return f"kafka://{kafka.brokers}?topic_prefix={kafka.topic_prefix}"

    @property
    def grant(self) -> Path:
        return self.deployment.folder / "grant.json"

    def signer(self, **changes: Any) -> Signer:
        return self.deployment.signer(int(time.time()) + changes.pop("later", 0), **changes)

    def recorder(self, spool: Path, counter: str = "-") -> "subprocess.Popen[str]":
        arguments = [self.address, self.grant, id_text(BENCHMARK), spool, counter]
        command = [sys.executable, direct_actor.__file__, *map(str, arguments)]
        tests = Path(__file__).parents[1]
        env = os.environ | {"PYTHONPATH": str(tests)}
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def append(self, sent: Sequence[Sent]) -> None:
        """Keys, values and partitions, by a producer of nobody's."""

        async def send() -> None:
            producer = AIOKafkaProducer(max_request_size=MAX_REQUEST_BYTES, **self.grown.kafka.options())
            await producer.start()
            for key, value, partition in sent:
                topic = self.grown.kafka.named(DIRECT_TOPIC)
                await producer.send_and_wait(topic, value, key=key, partition=partition)
            await producer.stop()

        asyncio.run(send())

    def order_grant(self, path: Path | None = None) -> None:
        """Have a grant for the benchmark written."""
        order = ["--private", str(self.deployment.private), "--benchmark", id_text(BENCHMARK)]
        self.grown.run("grant", *order, "--out", str(path or self.grant))


@contextmanager
def inside_cluster(folder: Path, *, broker: str = "") -> Iterator[Inside]:
    """It ends with the block; `broker` as for `cluster`."""
    deployment = Deployment(folder)
    more = {"TUPLI_INGEST_GRANT_KEYS": str(deployment.keys), "TUPLI_INGEST_CATCHUP_PAUSE_RECORDS": "50"}
    with cluster(folder, partitions=PARTITIONS, broker=broker, **more) as grown:
        url = grown.server(module="tupli_standalone.front")
        create_benchmark(url)
        grown.worker()
        made = Inside(grown, deployment, url)
        made.order_grant()
        yield made
