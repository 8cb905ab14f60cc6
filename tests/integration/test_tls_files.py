"""A file of TLS that is missing, or is none, ends a process at its start: exit code 2, and the path is named."""

from pathlib import Path

import pytest

from support.modules import run_module

KAFKA = {"TUPLI_KAFKA_BROKERS": "127.0.0.1:1", "TUPLI_KAFKA_SECURITY_PROTOCOL": "SSL"}
CLICKHOUSE = {"TUPLI_CLICKHOUSE_HOST": "127.0.0.1", "TUPLI_CLICKHOUSE_PORT": "1"}
PLAIN = {"TUPLI_KAFKA_BROKERS": "127.0.0.1:1"}
SECURE = {"TUPLI_CLICKHOUSE_SECURE": "true"}
PORT = ("--port", "0")


def ended(arguments: tuple[str, ...], more: dict[str, str]) -> tuple[int, str]:
    """The exit code of a process, and what it said."""
    done = run_module(*arguments, environment=more)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "setting", "more"),
    [
        (("tupli_ingest", "gateway", *PORT), "TUPLI_KAFKA_SSL_CAFILE", KAFKA | CLICKHOUSE),
        (("tupli_ingest", "create-topics"), "TUPLI_KAFKA_SSL_CAFILE", KAFKA),
        (("tupli_ingest", "worker"), "TUPLI_CLICKHOUSE_CA_FILE", PLAIN | CLICKHOUSE | SECURE),
        (("tupli_ingest", "migrate"), "TUPLI_CLICKHOUSE_CA_FILE", CLICKHOUSE | SECURE),
        (("tupli_standalone.front", *PORT), "TUPLI_KAFKA_SSL_CAFILE", KAFKA | CLICKHOUSE),
        (("tupli_query", *PORT), "TUPLI_CLICKHOUSE_CA_FILE", CLICKHOUSE | SECURE),
    ],
    ids=["gateway", "create-topics", "worker", "migrate", "front", "query"],
)
def test_a_missing_file_is_no_server_that_is_away(
    arguments: tuple[str, ...], setting: str, more: dict[str, str], tmp_path: Path
) -> None:
    missing = str(tmp_path / "not-there.pem")
    code, said = ended(arguments, more | {setting: missing})
    assert code == 2
    assert missing in said
    assert setting in said


@pytest.mark.parametrize(
    ("arguments", "setting", "more"),
    [
        (("tupli_ingest", "create-topics"), "TUPLI_KAFKA_SSL_CAFILE", KAFKA),
        (("tupli_query", *PORT), "TUPLI_CLICKHOUSE_CA_FILE", CLICKHOUSE | SECURE),
    ],
    ids=["create-topics", "query"],
)
def test_a_file_without_certificates_is_named(
    arguments: tuple[str, ...], setting: str, more: dict[str, str], tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    other.write_text("no certificate", encoding="utf-8")
    code, said = ended(arguments, more | {setting: str(other)})
    assert code == 2
    assert str(other) in said
    assert setting in said


def test_a_certificate_without_its_key_is_named(tmp_path: Path) -> None:
    certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
    certificate.write_text("", encoding="utf-8")
    own = {"TUPLI_KAFKA_SSL_CERTFILE": str(certificate), "TUPLI_KAFKA_SSL_KEYFILE": str(key)}
    code, said = ended(("tupli_ingest", "create-topics"), KAFKA | own)
    assert code == 2
    assert "TUPLI_KAFKA_SSL_KEYFILE" in said
    assert str(key) in said
