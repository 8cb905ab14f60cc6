"""Variables that nobody reads are found, with the name that was meant; what others read is left alone."""

from typing import Any

import pytest

from tupli_schemas.variables import unknown_variables, wrong_variables

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


class Kafka:
    """As settings are: they know how their variables begin."""

    model_config = {"env_prefix": "TUPLI_KAFKA_"}  # noqa: RUF012 -- as Pydantic has it


class Wrong:
    """As Pydantic tells it."""

    def __init__(self, title: str, *problems: tuple[tuple[str, ...], str, str]) -> None:
        self.title = title
        self._problems = problems

    def errors(self) -> list[Any]:
        return [{"loc": loc, "type": kind, "msg": msg} for loc, kind, msg in self._problems]

    def __str__(self) -> str:
        return "as it is"


def test_what_is_wrong_is_told_by_the_variables_that_have_it() -> None:
    wrong = Wrong(
        "Kafka",
        (("brokers",), "missing", "Field required"),
        (("request_timeout_ms",), "greater_than", "Input should be greater than 0"),
        ((), "value_error", "Value error, these do not go together"),
    )
    assert wrong_variables(wrong, [Kafka]) == (
        "TUPLI_KAFKA_BROKERS is not set; TUPLI_KAFKA_REQUEST_TIMEOUT_MS: Input should be greater than 0;"
        " TUPLI_KAFKA_*: these do not go together"
    )


def test_what_is_about_no_settings_is_told_as_it_is() -> None:
    assert wrong_variables(Wrong("Other"), [Kafka]) == "as it is"
