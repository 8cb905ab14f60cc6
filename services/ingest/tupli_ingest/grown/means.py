"""How the processes of the grown system reach log and store: what their parts are made with."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tupli_ingest.adapters.clickhouse_client import ClickHouseClient, ClickHouseConnection
from tupli_ingest.adapters.faust_engine import FaustEngine
from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_groups import KafkaGroups
from tupli_ingest.adapters.kafka_log import KafkaLog
from tupli_ingest.adapters.kafka_reader import ThreadLog
from tupli_ingest.adapters.kafka_topics import partitions_of


@dataclass(frozen=True, slots=True)
class Means:
    """The real ones; tests bring others.

    Attributes:
        client: Speaks to the store.
        generations: What the store has, and the stores of it.
        log: The log, for threads.
        events: The log, for a gateway's events.
        groups: Where consumer groups stand.
        partitions: How many a topic has.
        engine: A member of a consumer group.
        clock: Seconds that only grow.
    """

    client: Callable[[ClickHouseConnection], ClickHouseClient] = ClickHouseClient
    generations: Callable[..., Generations] = Generations
    log: Callable[[KafkaConnection], ThreadLog] = ThreadLog
    events: Callable[..., KafkaLog] = KafkaLog
    groups: Callable[[KafkaConnection], KafkaGroups] = KafkaGroups
    partitions: Callable[[KafkaConnection, str], Awaitable[int]] = partitions_of
    engine: Callable[..., FaustEngine] = FaustEngine
    clock: Callable[[], float] = time.monotonic


REAL = Means()
