"""Fixtures of all tests, and the rule that unit tests do no I/O."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.internal.conjecture.providers import _get_local_constants

from support.no_io import no_io

UNIT = Path(__file__).parent / "unit"

hypothesis.settings.register_profile("tupli", database=None, deadline=None, print_blob=True)
hypothesis.settings.load_profile("tupli")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Which broker and which ClickHouse the tests use; images are pulled now, if they are to be."""
    if all(UNIT in (UNIT.parent.parent / path.split("::")[0]).resolve().parents for path in config.args):
        return []  # unit tests use neither
    from support.clickhouse_process import chosen_clickhouse  # the servers' packages: not for unit tests
    from support.containers import CLICKHOUSE_IMAGE, KAFKA_IMAGE
    from support.kafka_broker import chosen_broker

    kafka = chosen_broker().told(KAFKA_IMAGE, "Apache Kafka from Maven's jars")
    clickhouse = chosen_clickhouse().told(CLICKHOUSE_IMAGE, "chDB behind the HTTP server of the tests")
    return [
        f"kafka: {kafka}",
        f"clickhouse: {clickhouse} (where statements fail: always the server of the tests)",
    ]


@pytest.fixture(scope="session", autouse=True)
def _hypothesis_knows_its_characters() -> None:
    """Hypothesis writes its tables of characters once per checkout; that is not the tests' I/O."""
    st.text(st.characters(exclude_categories=["Cs"])).validate()
    st.text(st.characters(codec="utf-8")).validate()


@pytest.fixture(autouse=True)
def _unit_tests_do_no_io(request: pytest.FixtureRequest) -> Iterator[None]:
    if UNIT not in request.path.parents:
        yield
        _forget_what_is_left()
        return
    # Hypothesis notes each module's constants in a file when it first sees it: also not the tests' I/O.
    _get_local_constants()
    with no_io() as attempts:
        yield
    assert not attempts, f"a unit test did I/O: {attempts}"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A test that runs a command here chooses where its process logs: not for the tests that follow.

    Their output would go to what stood for stderr then, and is closed.
    """
    yield
    if structlog := sys.modules.get("structlog"):  # servers have it, the light client does not
        structlog.reset_defaults()


@pytest.fixture
def free_port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _forget_what_is_left() -> None:
    """Streams that a test left in its spool are tried again in the background: not during the tests that follow."""
    shipper: Any = sys.modules.get("tupli.recording.shipper")
    background = shipper and shipper._background
    for job in background.jobs() if background else ():
        if job.ended:
            background.forget(job)
