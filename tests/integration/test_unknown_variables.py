"""A misspelt setting is told in the log of each process that starts, and stops none of them."""

import json
import socket
from pathlib import Path

import pytest

from support.modules import run_module

SECRET = "not-for-the-log"
MISSPELT = {"TUPLI_KAFAK_BROKERS": SECRET, "TUPLI_QEURY_THREADS": SECRET}
GIVEN = {
    "TUPLI_URL": "http://u",
    "TUPLI_TOKEN": SECRET,
    "TUPLI_INGEST_METRICS": "true",
    "TUPLI_QUERY_THREADS": "9",
}
MISSING = "/not/there.pem"
ENDS_AT_ONCE = {  # each process ends over it, behind its warnings
    "TUPLI_KAFKA_BROKERS": "127.0.0.1:1",
    "TUPLI_KAFKA_SECURITY_PROTOCOL": "SSL",
    "TUPLI_KAFKA_SSL_CAFILE": MISSING,
    "TUPLI_CLICKHOUSE_HOST": "127.0.0.1",
    "TUPLI_CLICKHOUSE_SECURE": "true",
    "TUPLI_CLICKHOUSE_CA_FILE": MISSING,
}


def warned(arguments: list[str], more: dict[str, str]) -> dict[str, str]:
    """The variables that a process warned of, with what it took for meant."""
    done = run_module(*arguments, environment=GIVEN | MISSPELT | more)
    assert done.returncode == 2
    assert SECRET not in done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    told = [line for line in lines if line.get("event") == "unknown variable"]  # the last one is the error
    assert all(line["level"] == "warning" for line in told)
    return {line["variable"]: line["nearest"] for line in told}


@pytest.mark.parametrize(
    "arguments", [["gateway"], ["worker"], ["create-topics"], ["migrate"]], ids=lambda given: given[0]
)
def test_ingest_tells_them(arguments: list[str]) -> None:
    told = warned(["tupli_ingest", *arguments], ENDS_AT_ONCE)
    assert told == {"TUPLI_KAFAK_BROKERS": "TUPLI_KAFKA_BROKERS", "TUPLI_QEURY_THREADS": ""}


def test_the_front_tells_them() -> None:
    told = warned(["tupli_standalone.front"], ENDS_AT_ONCE)
    assert told == {
        "TUPLI_KAFAK_BROKERS": "TUPLI_KAFKA_BROKERS",
        "TUPLI_QEURY_THREADS": "TUPLI_QUERY_THREADS",
    }


def test_the_query_service_tells_them() -> None:
    told = warned(["tupli_query"], ENDS_AT_ONCE)
    assert told["TUPLI_QEURY_THREADS"] == "TUPLI_QUERY_THREADS"
    assert set(told) == set(MISSPELT)


def test_one_process_with_everything_tells_them(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:  # it ends over the port
        port = str(other.getsockname()[1])
        told = warned(
            ["tupli_standalone", "--log-format", "json", "--data", str(tmp_path), "--port", port],
            ENDS_AT_ONCE,
        )
    assert told["TUPLI_QEURY_THREADS"] == "TUPLI_QUERY_THREADS"
    assert set(told) == set(MISSPELT)
