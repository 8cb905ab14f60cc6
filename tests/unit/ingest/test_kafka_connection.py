"""How to reach Kafka: what does not hold together is refused at the start, and the rest reaches the driver."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tupli_ingest.adapters.kafka_connection import KafkaConnection, TokenFile
from tupli_ingest.adapters.kafka_topics import TopicPlan
from tupli_ingest.core.errors import UnfitTopics
from tupli_schemas.events import CATALOG_TOPIC, DEAD_LETTERS_TOPIC, DIRECT_TOPIC, EPISODES_TOPIC

SCRAM: dict[str, Any] = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "u", "sasl_password": "p"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"brokers": ""}, "brokers"),
        ({"brokers": ",,"}, "is host:port"),
        ({"brokers": "kafka://a:1"}, "is host:port"),
        ({"brokers": "a:abc"}, "is host:port"),
        ({"brokers": "a:1,b:99999"}, "from 1 to 65535"),
        ({"brokers": "a"}, "is host:port"),
        ({"security_protocol": "SASL_SSL"}, "do not go together"),
        (SCRAM, "do not go together"),
        (
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-256"},
            "needs sasl_username and sasl_password",
        ),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}, "needs sasl_token_file"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "GSSAPI"}, "sasl_mechanism"),
        ({"security_protocol": "ssl"}, "security_protocol"),
        ({"ssl_certfile": "c.pem"}, "given together"),
        ({"topic_prefix": "a b"}, "topic_prefix"),
        ({"brokres": "x"}, "brokres"),
    ],
)
def test_what_does_not_hold_together_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        KafkaConnection(**{"brokers": "a:1"} | given)


def test_without_security_nothing_is_sent_along() -> None:
    options = KafkaConnection(brokers="a:1,b:2").options()
    assert options["bootstrap_servers"] == ["a:1", "b:2"]
    assert options["security_protocol"] == "PLAINTEXT"
    assert {options[name] for name in ("ssl_context", "sasl_plain_username", "sasl_plain_password")} == {None}


def test_brokers_may_have_spaces_between_them_and_addresses_of_ipv6() -> None:
    assert KafkaConnection(brokers="a:1, [::1]:9092").options()["bootstrap_servers"] == ["a:1", "[::1]:9092"]


def test_credentials_reach_the_driver_and_no_text_of_the_settings() -> None:
    connection = KafkaConnection(brokers="a:1", security_protocol="SASL_PLAINTEXT", **SCRAM)
    options = connection.options()
    assert (options["sasl_mechanism"], options["sasl_plain_username"]) == ("SCRAM-SHA-512", "u")
    assert options["sasl_plain_password"] == "p"
    assert "'p'" not in repr(connection)


def test_tokens_come_from_a_file() -> None:
    connection = KafkaConnection(
        brokers="a:1",
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="OAUTHBEARER",
        sasl_token_file=Path("/x"),
    )
    assert isinstance(connection.options()["sasl_oauth_token_provider"], TokenFile)


def test_topics_keep_everything_and_the_catalogue_has_one_partition() -> None:
    topics = {
        one.name: one
        for one in TopicPlan(partitions=12).topics(KafkaConnection(brokers="a:1", topic_prefix="p."))
    }
    assert {name: one.num_partitions for name, one in topics.items()} == {
        f"p.{EPISODES_TOPIC}": 12,
        f"p.{DIRECT_TOPIC}": 12,
        f"p.{CATALOG_TOPIC}": 1,
        f"p.{DEAD_LETTERS_TOPIC}": 1,
    }
    assert topics[f"p.{DIRECT_TOPIC}"].topic_configs["compression.type"] == "uncompressed"
    for one in topics.values():
        assert one.topic_configs["message.timestamp.type"] == "LogAppendTime"
        assert one.topic_configs["retention.ms"] == one.topic_configs["retention.bytes"] == "-1"
        assert one.topic_configs["cleanup.policy"] == "delete"
        assert (one.replication_factor, one.topic_configs["min.insync.replicas"]) == (3, "2")


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ((0, 3, 2), "at least one partition, not 0"),
        ((8, 1, 2), "of 1 copies .* wait for 2"),
        ((8, 0, 0), "of 0 copies"),
        ((8, 3, 0), "wait for 0"),
    ],
)
def test_topics_that_nothing_could_be_written_to_are_refused(plan: tuple[int, int, int], told: str) -> None:
    with pytest.raises(UnfitTopics, match=told):
        TopicPlan(*plan)
