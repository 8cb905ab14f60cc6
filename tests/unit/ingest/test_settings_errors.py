"""What is wrong with settings is told without what they hold: one of them may be a secret."""

import pytest
from pydantic import ValidationError

from tupli_ingest.adapters.clickhouse_client import ClickHouseConnection
from tupli_ingest.adapters.kafka_connection import KafkaConnection

SECRET = "t0psecret"


def test_no_password_is_in_an_error() -> None:
    with pytest.raises(ValidationError) as kafka:
        KafkaConnection(brokers="k:1", security_protocol="SASL_SSL", sasl_password=SECRET)  # type: ignore[arg-type]  # as the environment gives it
    with pytest.raises(ValidationError) as clickhouse:
        ClickHouseConnection(host="", password=SECRET)  # type: ignore[arg-type]  # as above
    with pytest.raises(ValidationError) as brokers:
        KafkaConnection(brokers=f"kafka://me:{SECRET}@k:1")
    with pytest.raises(ValidationError) as host:
        ClickHouseConnection(host=f"http://me:{SECRET}@c")
    for error in (kafka, clickhouse, brokers, host):
        assert SECRET not in str(error.value)
