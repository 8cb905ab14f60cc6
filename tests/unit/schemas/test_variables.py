"""Variables that nobody reads are found, with the name that was meant; what others read is left alone."""

import pytest

from tupli_schemas.variables import unknown_variables

KNOWN = {"TUPLI_KAFKA_BROKERS", "TUPLI_INGEST_METRICS", "TUPLI_CLICKHOUSE_PASSWORD", "TUPLI_CLICKHOUSE_PORT"}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("TUPLI_KAFAK_BROKERS", "TUPLI_KAFKA_BROKERS"),
        ("TUPLI_INGEST_METRIC", "TUPLI_INGEST_METRICS"),
        ("TUPLI_CLICKHOUSE_PASS", "TUPLI_CLICKHOUSE_PASSWORD"),
        ("tupli_ingest_metrix", "TUPLI_INGEST_METRICS"),
        ("TUPLI_TOKN", "TUPLI_TOKEN"),
        ("TUPLI_FOO", ""),
        ("TUPLI_", ""),
    ],
)
def test_a_variable_that_nobody_reads_has_the_nearest_known_name(name: str, nearest: str) -> None:
    assert unknown_variables([name, "PATH"], KNOWN) == {name: nearest}


@pytest.mark.parametrize(
    "name",
    [
        *sorted(KNOWN),
        "tupli_kafka_brokers",
        "TUPLI_URL",
        "TUPLI_TOKEN",
        "TUPLI_SPOOL_DIR",
        "TUPLI_SPOOL_LIMIT",
        "TUPLI_DATA",
        "TUPLI_GRANT",
        "TUPLI_TEST_KAFKA",
        "TUPLI_QUERY_THREADS",
        "OTEL_SERVICE_NAME",
        "MY_TUPLI_URL",
    ],
)
def test_what_somebody_reads_is_no_unknown_variable(name: str) -> None:
    assert unknown_variables([name], KNOWN, ("TUPLI_QUERY_",)) == {}


def test_what_kubernetes_sets_for_a_service_is_left_alone() -> None:
    ends = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP", "PORT_80_TCP_ADDR")
    assert unknown_variables([f"TUPLI_GATEWAY_{end}" for end in ends], KNOWN) == {}
    assert unknown_variables(["TUPLI_GATEWAY_PORT"], KNOWN) == {"TUPLI_GATEWAY_PORT": ""}
