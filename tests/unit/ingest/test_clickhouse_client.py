"""The driver of ClickHouse: one of them, however many threads ask at once."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import clickhouse_connect
import pytest

from tupli_ingest.adapters.clickhouse_client import ClickHouseClient, ClickHouseConnection


class Driver:
    """Does nothing, and knows whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


def test_threads_that_ask_at_once_share_one_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Driver] = []

    def get_client(**_: Mapping[str, Any]) -> Driver:
        time.sleep(0.05)  # it asks the server who it is
        made.append(Driver())
        return made[-1]

    monkeypatch.setattr(clickhouse_connect, "get_client", get_client)
    client = ClickHouseClient(ClickHouseConnection(host="h"))
    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(client._client)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert got == made * 5
    client.close()
    assert made[0].is_closed
