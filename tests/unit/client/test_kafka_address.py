"""Addresses of Kafka, and what `TUPLI_KAFKA_*` says of TLS and SASL."""

import pytest

from tupli.errors import InvalidInput
from tupli.transport.kafka_address import KafkaAddress, is_kafka
from tupli.transport.kafka_options import TokenFile, client_options


@pytest.mark.parametrize(
    ("text", "brokers", "prefix"),
    [
        ("kafka://a:9092", ("a:9092",), ""),
        ("kafka://a:1,b.c-d:65535", ("a:1", "b.c-d:65535"), ""),
        ("kafka://a:1/", ("a:1",), ""),
        ("kafka://[::1]:9092?topic_prefix=x.", ("[::1]:9092",), "x."),
        ("kafka://a:1?topic_prefix=", ("a:1",), ""),
    ],
)
def test_an_address_is_brokers_and_a_prefix(text: str, brokers: tuple[str, ...], prefix: str) -> None:
    address = KafkaAddress.parse(text, {})
    assert (address.brokers, address.topic_prefix) == (brokers, prefix)
    assert KafkaAddress.parse(str(address), {}) == address
    assert is_kafka(text)


def test_the_environments_prefix_is_part_of_the_address() -> None:
    environment = {"TUPLI_KAFKA_TOPIC_PREFIX": "e."}
    assert str(KafkaAddress.parse("kafka://a:1", environment)) == "kafka://a:1?topic_prefix=e."
    assert str(KafkaAddress.parse("kafka://a:1?topic_prefix=u.", environment)).endswith("=u.")


@pytest.mark.parametrize(
    "text",
    [
        "kafka://",
        "kafka://a",
        "kafka://a:1,",
        "kafka://a:1,,b:1",
        "kafka://me:secret@a:1",
        "kafka://a:1/topic",
        "kafka://a:1?prefix=x",
        "kafka://a:1?topic_prefix=x&topic_prefix=y",
        "kafka://a:1?topic_prefix=x y",
        "kafka://a:1#x",
        "kafka://a:0",
        "kafka://a:1,b:65536",
        "kafka://a:99999",
        "http://a:1",
        "a:1",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidInput):
        KafkaAddress.parse(text, {})


def options(**given: str) -> dict[str, object]:
    return client_options({f"TUPLI_KAFKA_{name}": value for name, value in given.items()})


def test_without_anything_it_is_plain() -> None:
    found = options()
    assert (found["security_protocol"], found["ssl_context"]) == ("PLAINTEXT", None)
    assert found["sasl_oauth_token_provider"] is None


def test_tls_and_sasl_are_the_servers_settings() -> None:
    scram = options(
        SECURITY_PROTOCOL="SASL_SSL", SASL_MECHANISM="SCRAM-SHA-512", SASL_USERNAME="u", SASL_PASSWORD="p"
    )
    assert scram["ssl_context"] is not None
    assert (scram["sasl_mechanism"], scram["sasl_plain_username"]) == ("SCRAM-SHA-512", "u")
    token = options(SECURITY_PROTOCOL="SASL_PLAINTEXT", SASL_MECHANISM="OAUTHBEARER", SASL_TOKEN_FILE="/t")
    assert isinstance(token["sasl_oauth_token_provider"], TokenFile)


@pytest.mark.parametrize(
    "given",
    [
        {"SECURITY_PROTOCOL": "TLS"},
        {"SASL_MECHANISM": "PLAIN"},
        {"SECURITY_PROTOCOL": "SASL_SSL"},
        {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "PLAIN", "SASL_USERNAME": "u"},
        {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "OAUTHBEARER"},
        {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "GSSAPI"},
        {"SECURITY_PROTOCOL": "SSL", "SSL_CAFILE": "/nowhere/at/all"},
    ],
)
def test_what_does_not_hold_together_is_told(given: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="TUPLI_KAFKA"):
        options(**given)
