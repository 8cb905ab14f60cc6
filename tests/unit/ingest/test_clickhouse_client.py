"""The driver of ClickHouse: one of them, however many threads ask at once."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from tupli_ingest.adapters.clickhouse_client import HALVED_BYTES, ClickHouseClient, ClickHouseConnection
from tupli_ingest.core.errors import StoreUnavailable


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


class Inserting(Driver):
    """Takes inserts: two wait for each other; one of rows from `refused` on fails."""

    def __init__(self, parties: int, refused: int | None = None) -> None:
        super().__init__()
        self.refused = refused
        self.taken: list[list[int]] = []
        self._both = threading.Barrier(parties, timeout=10)

    def raw_insert(self, table: str, names: list[str], data: bytes, **_: object) -> None:
        self._both.wait()
        rows = pa.ipc.open_stream(data).read_all()["n"].to_pylist()
        if self.refused is not None and rows[0] >= self.refused:
            raise DatabaseError("Code: 241. DB::Exception: (MEMORY_LIMIT_EXCEEDED)")
        self.taken.append(rows)


def client_of(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> ClickHouseClient:
    monkeypatch.setattr(clickhouse_connect, "get_client", lambda **_: driver)
    return ClickHouseClient(ClickHouseConnection(host="h"))


def numbers(count: int) -> pa.Table:
    return pa.table({"n": pa.array(range(count), pa.int64())})


LARGE = HALVED_BYTES // 8


def test_many_rows_go_in_two_parts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Inserting(2)
    client_of(driver, monkeypatch).insert("d", "t", numbers(LARGE))
    assert sorted(len(part) for part in driver.taken) == [LARGE // 2] * 2
    assert sorted(driver.taken[0] + driver.taken[1]) == list(range(LARGE))


def test_few_rows_go_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Inserting(1)
    client_of(driver, monkeypatch).insert("d", "t", numbers(LARGE - 1))
    assert driver.taken == [list(range(LARGE - 1))]


@pytest.mark.parametrize("refused", [0, 1])
def test_a_part_that_fails_fails_all_of_it_when_both_are_done(
    refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Inserting(2, refused)
    with pytest.raises(StoreUnavailable):
        client_of(driver, monkeypatch).insert("d", "t", numbers(LARGE))
    assert len(driver.taken) == refused
