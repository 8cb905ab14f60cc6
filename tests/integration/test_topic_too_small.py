"""A topic that takes less at once than is sent is told by its name, and costs nothing else."""

import asyncio
import uuid

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from support.kafka_broker import shared_broker
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_log import MAX_REQUEST_BYTES, KafkaLog
from tupli_ingest.core.errors import LogUnavailable
from tupli_schemas.events import EPISODES_TOPIC
from tupli_schemas.records import Envelope, NewRecord


def record(size: int) -> NewRecord:
    return NewRecord(b"k" * 16, Envelope(event="E", version=1, subject=b"s" * 16, received_at=0), bytes(size))


def test_it_is_said_what_to_set() -> None:
    kafka = KafkaConnection(brokers=shared_broker(), topic_prefix=f"{uuid.uuid4().hex}.")

    async def run() -> None:
        admin = AIOKafkaAdminClient(**kafka.options())
        await admin.start()
        limits = {"max.message.bytes": "8000"}
        await admin.create_topics([NewTopic(kafka.named(EPISODES_TOPIC), 1, 1, topic_configs=limits)])
        await admin.close()
        log = KafkaLog(kafka)
        await log.start()
        try:
            (before,) = await log.append(EPISODES_TOPIC, [record(10)])
            with pytest.raises(LogUnavailable, match=rf"`max.message.bytes` to {MAX_REQUEST_BYTES}"):
                await log.append(EPISODES_TOPIC, [record(20_000)])
            (after,) = await log.append(EPISODES_TOPIC, [record(10)])
        finally:
            await log.stop()
        assert (log.in_flight_bytes, after.offset) == (0, before.offset + 1)

    asyncio.run(run())
