"""Parts of the grown system that several files start alike; which cluster it is, each file's `grown` says.

What that takes is imported late: the client's tests run where it is not installed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.broker_proxy import BrokerProxy
    from support.cluster import Cluster
    from support.kafka_broker import Broker


@pytest.fixture
def url(grown: "Cluster") -> str:
    """A gateway with a benchmark."""
    from support.ingest_sender import create_benchmark

    url = grown.gateway()
    create_benchmark(url)
    return url


@pytest.fixture
def proxy() -> "Iterator[BrokerProxy]":
    from support.broker_proxy import BrokerProxy

    with BrokerProxy() as made:
        yield made


@pytest.fixture
def broker(tmp_path: Path, proxy: "BrokerProxy") -> "Iterator[Broker]":
    """A broker of its own, which others reach through the proxy as well."""
    from support.kafka_broker import own_broker

    folder = tmp_path / "broker"
    folder.mkdir()
    with own_broker(folder, behind=proxy.port) as made:
        proxy.broker_port = made.behind_port
        yield made
