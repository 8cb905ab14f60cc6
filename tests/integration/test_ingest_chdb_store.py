"""The chDB store: migrations, generations, duplicates that no merge has removed, erasure, the lock of the folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tupli_ingest.adapters.chdb_client import ChdbClient
from tupli_ingest.adapters.clickhouse_store import ClickHouseStore
from tupli_ingest.adapters.data_lock import DataDirectoryBusy, DataLock
from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.migrations import migrate, migrations
from tupli_ingest.core.errors import RowsRefused, StoreUnavailable
from tupli_ingest.core.headers import StreamFacts
from tupli_ingest.core.ports import EpisodeKey, Row, StoredStream, step_rows_schema, stored_rows_schema
from tupli_schemas.ids import LOCAL_SUBJECT, episode_id, make_id
from tupli_schemas.steps import Cell, Layout, as_cells
from tupli_schemas.tables import generation_database

LAYOUT = Layout.parse("o=f4[2,2]|raw;a=i8[];x=b1[]")
STREAM = make_id(5, 5)
BENCHMARK = make_id(5, 6)


class Releasing(ChdbClient):
    """Notes how often memory was given back."""

    releases = 0

    def release_memory(self) -> None:
        self.releases += 1
        super().release_memory()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releasing]:
    client = Releasing(tmp_path_factory.mktemp("store"))
    yield client
    client.close()


@pytest.fixture
def generations(client: ChdbClient) -> Generations:
    generations = Generations(client, max_step_tables=2)
    generations.migrate()
    return generations


@pytest.fixture
def store(client: ChdbClient, generations: Generations) -> Iterator[ClickHouseStore]:
    generations.drop(99)
    generations.make(99)
    yield generations.open(99)
    generations.drop(99)


def key(ordinal: int = 1, layout: Layout = LAYOUT) -> EpisodeKey:
    return EpisodeKey(BENCHMARK, LOCAL_SUBJECT, episode_id(STREAM, ordinal), layout.text)


def rows(value: float, offset: int, steps: int = 3, ordinal: int = 1) -> pa.RecordBatch:
    """Rows of one episode that differ in every column from those of another value."""
    schema = step_rows_schema(LAYOUT)
    small = int(value) % 2
    columns: dict[str, Any] = {
        "benchmark": [BENCHMARK] * steps,
        "owner": [LOCAL_SUBJECT] * steps,
        "episode": [episode_id(STREAM, ordinal)] * steps,
        "step": range(steps),
        "info": [b"\xff%d" % value] * steps,
        "info_num": [[("n", value)]] * steps,
        "info_int": [[("i", int(value))]] * steps,
        "info_str": [[("s", str(value))]] * steps,
        "info_other": [[str(value)]] * steps,
        "o1": [b"\x00%d" % value] * steps,
        "reward": [value] * steps,
        "time": [int(value)] * steps,
        "a0": [int(value)] * steps,
        "offset": [offset] * steps,
        "log_generation": [small + 1] * steps,
        "partition": [small] * steps,
    }
    flags = {name: [small] * steps for name in ("is_final", "terminated", "truncated", "x0")}
    arrays = {name: pa.array(list(v), schema.field(name).type) for name, v in (columns | flags).items()}
    arrays["o0"] = as_cells(np.full((steps, 2, 2), value, np.float32), Cell.parse("f4[2,2]"))
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def header(store: ClickHouseStore, version: int, **members: Any) -> Row:
    """A header row with nothing in it but what is given."""
    empty = {"F": bytes(16), "S": "", "L": "", "U": 0, "I": 0, "M": {}, "A": [], "N": None}
    row = {name: empty[kind[0]] for name, kind in store._columns["episodes"].items()}
    identity = {
        "benchmark": BENCHMARK,
        "owner": LOCAL_SUBJECT,
        "episode": key().episode,
        "layout": LAYOUT.text,
    }
    return row | identity | {"version": version} | members


def read(store: ClickHouseStore, ranges: list[tuple[int, int]], ordinal: int = 1) -> list[dict[str, Any]]:
    return [row for batch in store.read_steps(key(ordinal), ranges) for row in batch.to_pylist()]


def test_of_unmerged_duplicates_the_first_in_the_log_counts(
    client: ChdbClient, store: ClickHouseStore
) -> None:
    store.write_steps(LAYOUT, rows(1.0, offset=5))
    client.command(f"SYSTEM STOP MERGES {generation_database(99)}.{LAYOUT.table}")
    for value, offset in ((2.0, 9), (3.0, 7), (1.0, 5)):
        store.write_steps(LAYOUT, rows(value, offset))
    parts = client.column(
        f"SELECT count() FROM system.parts WHERE active AND table = '{LAYOUT.table}' AND database = 'tupli_g99'"
    )
    assert parts == ["4"]
    found = read(store, [(0, 10)])
    assert found == rows(1.0, 5).select(stored_rows_schema(LAYOUT).names).to_pylist()
    assert [batch.schema for batch in store.read_steps(key(), [(0, 10)])] == [stored_rows_schema(LAYOUT)]


def test_floats_come_back_bit_for_bit(store: ClickHouseStore) -> None:
    odd = np.array([0x7FC00001, 0xFFC00000, 0x80000000, 0x00000001], np.uint32).view(np.float32)
    batch = rows(1.0, 1, steps=1)
    values = as_cells(odd.reshape(1, 2, 2), Cell.parse("f4[2,2]"))
    store.write_steps(
        LAYOUT, batch.set_column(batch.schema.names.index("o0"), batch.schema.field("o0"), values)
    )
    (found,) = store.read_steps(key(), [(0, 0)])
    assert found.column("o0").flatten().to_numpy().tobytes() == odd.tobytes()


def test_ranges_are_read_in_order_and_in_pages(store: ClickHouseStore) -> None:
    store.write_steps(LAYOUT, rows(1.0, 1, steps=20_000))
    assert [row["step"] for row in read(store, [(3, 4), (9_000, 17_500), (19_999, 10**12)])] == [
        *(3, 4),
        *range(9_000, 17_501),
        19_999,
    ]
    assert read(store, [(0, 9)], ordinal=2) == []
    assert list(store.read_steps(key(layout=Layout.parse("o=i8[];a=;x=")), [(0, 9)])) == []


def test_header_rows_come_back_equal_and_the_greatest_version_counts(store: ClickHouseStore) -> None:
    row = header(
        store,
        3,
        received=[(0, 5), (7, 2**63)],
        metadata_num={"a": 1.5, "é": float("inf")},
        metadata_str={"x.y": "z"},
        metadata_other=["q"],
        publish_in=["g", "h"],
        policy="p",
    )
    store.write_rows("episodes", [row])
    store.write_rows("episodes", [header(store, 2)])
    other = make_id(6, 6)
    stored = store.load_streams({STREAM: None, other: None})
    assert stored == {STREAM: StoredStream(None, (row,), 1), other: StoredStream()}
    assert store.load_streams({STREAM: [1, 7]})[STREAM].episodes == (row,)
    assert store.load_streams({STREAM: [2]})[STREAM] == StoredStream(None, (), 1)
    assert store.find_episodes(benchmark=BENCHMARK) == store.find_episodes(ids=[key().episode]) == [key()]


def test_a_row_that_does_not_fit_is_refused(store: ClickHouseStore) -> None:
    with pytest.raises(RowsRefused, match="OverflowError"):
        store.write_rows("episodes", [header(store, 1, slot=-1)])
    with pytest.raises(RowsRefused, match="KeyError"):
        store.write_rows("streams", [{}])


def test_erasing_takes_exactly_the_keys(store: ClickHouseStore) -> None:
    for ordinal in (1, 2):
        store.write_steps(LAYOUT, rows(1.0, 1, ordinal=ordinal))
        store.write_rows("episodes", [header(store, 1, episode=key(ordinal).episode)])
    store.erase([key(1)])
    assert (len(read(store, [(0, 9)])), len(read(store, [(0, 9)], ordinal=2))) == (0, 3)
    assert store.find_episodes(benchmark=BENCHMARK) == [key(2)]
    store.erase([])


def test_there_are_only_so_many_step_tables(store: ClickHouseStore) -> None:
    for text in ("o=i8[];a=;x=", "o=i4[];a=;x="):
        layout = Layout.parse(text)
        store._ensure_step_table(layout)
        store._ensure_step_table(layout)
    with pytest.raises(RowsRefused, match="2 step tables"):
        store.write_steps(LAYOUT, rows(1.0, 1))


def test_migrations_run_once(client: ChdbClient, generations: Generations) -> None:
    expected = [m.name for m in migrations() if m.scope == "generation"]
    assert migrate(client, "tupli_g50", "generation") == expected
    assert migrate(client, "tupli_g50", "generation") == []
    assert 50 in generations.others()
    generations.drop(50)
    assert 50 not in generations.others()


def test_generations_switch_and_the_serving_one_is_not_dropped(generations: Generations) -> None:
    before = generations.serving()
    generations.make(before + 1)
    generations.switch(before + 1)
    assert generations.serving() == before + 1
    with pytest.raises(ValueError, match="serves"):
        generations.drop(before + 1)
    generations.drop(before)


def test_a_generation_has_its_mark_once_it_has_begun_and_loses_it_with_its_tables(
    generations: Generations, store: ClickHouseStore
) -> None:
    assert not generations.has_begun(99)
    generations.begin(99)
    generations.begin(99)
    assert generations.has_begun(99)
    generations.drop(99)
    with pytest.raises(StoreUnavailable):
        generations.has_begun(99)
    generations.make(99)
    assert not generations.has_begun(99)


def test_a_generation_from_before_there_were_marks_has_one(client: ChdbClient) -> None:
    """And one that was made anew has none, also where somebody wrote at once."""
    generations = Generations(client)
    (migration,) = [m for m in migrations() if m.name.startswith("0016")]
    for generation, age, has_rows, marked in (
        (61, 7, True, True),
        (62, 0, True, False),
        (63, 7, False, False),
    ):
        database = f"tupli_g{generation}"
        migrate(client, database, "generation")
        client.command(f"ALTER TABLE {database}.migrations DELETE WHERE 1", {"mutations_sync": 1})
        made = f"now() - INTERVAL {age} DAY"
        client.command(f"INSERT INTO {database}.migrations (name, applied_at) SELECT '0003_streams', {made}")
        if has_rows:
            client.command(f"INSERT INTO {database}.streams (version) VALUES (1)")
        client.command(migration.sql.replace("{database}", database))
        assert generations.has_begun(generation) is marked
        generations.drop(generation)


def test_positions_are_the_highest_offsets_of_each_partition(
    generations: Generations, store: ClickHouseStore
) -> None:
    assert generations.positions(99) == {}
    found = [(1, 0, 5), (2, 0, 3), (3, 1, 0), (1, 0, 7)]
    for number, partition, offset in found:
        facts = StreamFacts(
            stream=make_id(1, number), owner=LOCAL_SUBJECT, partition=partition, offset=offset
        )
        store.write_rows("streams", [facts.to_row()])
    assert generations.positions(99) == {0: 7, 1: 0}


def test_the_probe_writes_and_reads(store: ClickHouseStore) -> None:
    store.probe()
    store.probe()


def test_a_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from tupli_ingest.adapters.data_lock import DataLock
lock = DataLock(Path({str(tmp_path)!r}))
print("held", flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DataDirectoryBusy, match=f"process {holder.pid} since 20"):
            DataLock(tmp_path)
        holder.kill()
    lock = DataLock(tmp_path)
    with pytest.raises(DataDirectoryBusy, match=f"process {os.getpid()} "):
        DataLock(tmp_path)
    lock.release()
    DataLock(tmp_path).release()


def test_memory_is_given_back_before_a_large_insert(client: Releasing) -> None:
    client.command("CREATE TABLE sizes (b String) ENGINE = MergeTree ORDER BY b")
    before = client.releases
    client.insert("default", "sizes", pa.table({"b": [b"small"]}))
    assert client.releases == before
    client.insert("default", "sizes", pa.table({"b": [bytes(1_000_000)] * 9}))
    assert client.releases == before + 1


@pytest.mark.parametrize(
    ("table", "times"),
    [
        ("benchmarks", ("created_at",)),
        ("deletions", ("deleted_at",)),
        ("episodes", ("received_at",)),
        ("streams", ("first_received_at", "last_received_at")),
    ],
)
def test_times_of_an_older_store_become_nanoseconds_once(
    client: ChdbClient, table: str, times: tuple[str, ...]
) -> None:
    migrate(client, "tupli_g60", "generation")
    (migration,) = [m for m in migrations() if m.name.endswith(f"{table}_nanoseconds")]
    names = ", ".join(times)
    for version, milliseconds in enumerate((1_700_000_000_123, 0)):
        values = ", ".join(str(milliseconds) for _ in times)
        client.command(f"INSERT INTO tupli_g60.{table} ({names}, version) VALUES ({values}, {version})")
    for _ in range(2):  # a crash may have come before it was remembered
        client.command(migration.sql.replace("{database}", "tupli_g60"))
        for name in times:
            found = client.column(f"SELECT {name} FROM tupli_g60.{table} ORDER BY version")
            assert found == ["1700000000123000000", "0"]
    Generations(client).drop(60)
