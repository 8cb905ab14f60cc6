"""What the processes of a deployment cannot start with is told on one line, or as JSON; signals end them once."""

import json
import signal
import subprocess
import sys
import time

import pytest

from support.modules import run_module

NOWHERE = {
    "TUPLI_KAFKA_BROKERS": "127.0.0.1:1",
    "TUPLI_CLICKHOUSE_HOST": "127.0.0.1",
    "TUPLI_CLICKHOUSE_PORT": "1",
}


@pytest.mark.parametrize(
    ("arguments", "more", "told"),
    [
        (["worker"], {"TUPLI_KAFKA_BROKERS": "127.0.0.1:99999"}, "TUPLI_KAFKA_BROKERS: is host:port"),
        (["gateway"], {"TUPLI_KAFKA_BROKERS": ",,"}, "TUPLI_KAFKA_BROKERS: is host:port"),
        (["create-topics"], {"TUPLI_KAFKA_BROKERS": "a:abc"}, "TUPLI_KAFKA_BROKERS: is host:port"),
        (
            ["migrate"],
            {"TUPLI_CLICKHOUSE_HOST": "http://a"},
            "TUPLI_CLICKHOUSE_HOST: is a name or an address",
        ),
        (["worker"], {"TUPLI_INGEST_GRANT_KEYS": ""}, "TUPLI_INGEST_GRANT_KEYS: is empty"),
    ],
)
def test_settings_that_are_none_are_named(arguments: list[str], more: dict[str, str], told: str) -> None:
    done = run_module("tupli_ingest", "--json", *arguments, environment=NOWHERE | more)
    assert done.returncode == 2
    assert json.loads(done.stderr.splitlines()[-1])["error"]["detail"].startswith(told)


def test_people_are_told_on_one_line() -> None:
    done = run_module("tupli_ingest", "worker", environment=NOWHERE | {"TUPLI_KAFKA_BROKERS": "a"})
    assert done.returncode == 2
    assert done.stderr.startswith("tupli_ingest worker: TUPLI_KAFKA_BROKERS: is host:port")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("port", ["99999"])
@pytest.mark.parametrize(
    "arguments",
    [["tupli_ingest", "worker"], ["tupli_ingest", "gateway"], ["tupli_query"], ["tupli_standalone.front"]],
)
def test_a_port_that_is_none_is_named(arguments: list[str], port: str) -> None:
    done = run_module(*arguments, f"--port={port}", environment=NOWHERE)
    assert done.returncode == 2
    assert "argument --port" in done.stderr
    assert "Traceback" not in done.stderr


PROGRAM = """
import asyncio, time
from tupli_ingest.serving import stop_on_signals

async def run():
    stop = stop_on_signals()
    print("ready", flush=True)
    await stop.wait()

asyncio.run(run())
print("finishing", flush=True)
time.sleep(1)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_while_a_process_finishes_is_no_failure(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "finishing\n"
        for _ in range(3):
            process.send_signal(number)
            time.sleep(0.05)
        assert process.wait(30) == 0
