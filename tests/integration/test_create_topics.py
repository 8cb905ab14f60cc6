"""`create-topics` on a real broker: what it makes, and what it says where that cannot be."""

import uuid

import pytest

from support.kafka_broker import shared_broker
from support.modules import run_module
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_topics import TopicPlan, create_topics_now
from tupli_ingest.core.errors import LogUnavailable, UnfitTopics
from tupli_schemas.events import CATALOG_TOPIC, DIRECT_TOPIC, EPISODES_TOPIC


@pytest.fixture
def kafka() -> KafkaConnection:
    """A broker without topics of this prefix."""
    return KafkaConnection(brokers=shared_broker(), topic_prefix=f"{uuid.uuid4().hex}.")


def plan(partitions: int) -> TopicPlan:
    return TopicPlan(partitions, replication=1, min_insync_replicas=1)


def test_topics_that_are_there_stay(kafka: KafkaConnection) -> None:
    assert set(create_topics_now(kafka, plan(3)).values()) == {"created"}
    assert set(create_topics_now(kafka, plan(3)).values()) == {"exists"}


def test_another_number_of_partitions_is_refused_with_both_numbers(kafka: KafkaConnection) -> None:
    create_topics_now(kafka, plan(3))
    with pytest.raises(UnfitTopics) as refused:
        create_topics_now(kafka, plan(5))
    for topic in (EPISODES_TOPIC, DIRECT_TOPIC):
        assert f"{kafka.named(topic)} has 3 and 5 were asked for" in str(refused.value)
    assert CATALOG_TOPIC not in str(refused.value)
    assert set(create_topics_now(kafka, plan(3)).values()) == {"exists"}  # as before


def test_the_command_ends_with_an_error_then(kafka: KafkaConnection) -> None:
    create_topics_now(kafka, plan(1))
    more = {"TUPLI_KAFKA_BROKERS": kafka.brokers, "TUPLI_KAFKA_TOPIC_PREFIX": kafka.topic_prefix}
    done = run_module("tupli_ingest", "create-topics", "--partitions", "2", environment=more)
    assert done.returncode == 2
    assert "has 1 and 2 were asked for" in done.stderr


def test_more_copies_than_brokers_are_told_with_the_option(kafka: KafkaConnection) -> None:
    with pytest.raises(LogUnavailable, match="--replication 1 --min-insync-replicas 1"):
        create_topics_now(kafka, TopicPlan(1, replication=99))
