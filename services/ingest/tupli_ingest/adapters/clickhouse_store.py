"""`EpisodeStore` over ClickHouse, in process or over HTTP: one generation's database."""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, get_args

import pyarrow as pa

from tupli_ingest.adapters.clickhouse_rows import Columns, rows_of_arrow, rows_to_arrow
from tupli_ingest.core.errors import NoMoreTables, StoreUnavailable
from tupli_ingest.core.ports import (
    EpisodeKey,
    Row,
    StoredStream,
    Table,
    stored_rows_schema,
)
from tupli_schemas.ids import episode_id, ordinal_of, stream_of
from tupli_schemas.steps import Layout
from tupli_schemas.tables import CONTROL_DATABASE, generation_database, step_table_ddl

READ_BYTES: Final = 8 * 1024 * 1024
KEYS_AT_ONCE: Final = 1_000
_ROW_OVERHEAD: Final = 256
_LAST_ORDINAL: Final = 2**32 - 1


class StoreClient(Protocol):
    """Statements and inserts, with errors in the port's words."""

    def command(self, sql: str, settings: dict[str, Any] | None = None) -> None:
        """Run a statement that answers nothing."""
        ...

    def column(self, sql: str) -> list[str]:
        """The first column of a query's answer, as text."""
        ...

    def table(self, sql: str) -> pa.Table:
        """A query's whole answer, read with the pinned settings of FINAL; text and bytes as binary."""
        ...

    def insert(self, database: str, table: str, rows: pa.Table) -> None:
        """Insert rows, synced to disk on return."""
        ...


class ClickHouseStore:
    """One generation. The database must be migrated."""

    def __init__(self, client: StoreClient, generation: int, *, max_step_tables: int = 500) -> None:
        self._client = client
        self._database = generation_database(generation)
        self._max_step_tables = max_step_tables
        self._lock = threading.Lock()
        self._columns = {table: self._describe(table) for table in get_args(Table)}
        self._step_tables: set[str] = set()

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        """See `EpisodeStore.write_steps`; a layout beyond the number of step tables is refused."""
        if not rows.num_rows:
            return
        self._ensure_step_table(layout)
        self._client.insert(self._database, layout.table, pa.Table.from_batches([rows]))

    def write_rows(self, table: Table, rows: Sequence[Row]) -> None:
        """See `EpisodeStore.write_rows`."""
        if rows:
            self._client.insert(self._database, table, rows_to_arrow(rows, self._columns[table]))

    def load_streams(
        self, wanted: Mapping[bytes, Collection[int] | None], *, columns: Sequence[str] = ()
    ) -> dict[bytes, StoredStream]:
        """See `EpisodeStore.load_streams`."""
        answer: dict[bytes, StoredStream] = {}
        streams = list(wanted)
        for start in range(0, len(streams), KEYS_AT_ONCE):
            part = streams[start : start + KEYS_AT_ONCE]
            answer |= self._load({stream: wanted[stream] for stream in part}, columns)
        return answer

    def read_steps(self, key: EpisodeKey, ranges: Sequence[tuple[int, int]]) -> Iterator[pa.RecordBatch]:
        """See `EpisodeStore.read_steps`."""
        if not key.layout:
            return
        layout = Layout.parse(key.layout)
        if not self._has_step_table(layout.table):
            return
        for first, last in ranges:
            following = first
            while following <= last:
                batch = self._read_page(key, layout, following, last)
                if not batch.num_rows:
                    break
                yield batch
                following = batch.column("step")[-1].as_py() + 1

    def find_episodes(self, *, benchmark: bytes | None = None, ids: Sequence[bytes] = ()) -> list[EpisodeKey]:
        """See `EpisodeStore.find_episodes`."""
        conditions = [f"benchmark = {_id(benchmark)}"] if benchmark is not None else []
        parts = [ids[i : i + KEYS_AT_ONCE] for i in range(0, len(ids), KEYS_AT_ONCE)]
        conditions += [f"episode IN ({_ids(part)})" for part in parts]
        keys: dict[EpisodeKey, None] = {}
        for condition in conditions:
            sql = f"SELECT benchmark, owner, episode, layout FROM {self._database}.episodes FINAL WHERE {condition}"  # noqa: S608 -- ids as hex
            for row in self._client.table(sql).to_pylist():
                keys[EpisodeKey(row["benchmark"], row["owner"], row["episode"], row["layout"].decode())] = (
                    None
                )
        return list(keys)

    def erase(self, episodes: Sequence[EpisodeKey]) -> None:
        """See `EpisodeStore.erase`: one mutation a table, waited for."""
        by_table: dict[str, list[EpisodeKey]] = {}
        for key in episodes:
            table = Layout.parse(key.layout).table if key.layout else ""
            if table and self._has_step_table(table):
                by_table.setdefault(table, []).append(key)
        for table, keys in by_table.items():
            self._delete(table, keys)
        self._delete("episodes", episodes)  # last: an interrupted erasure is found again by its headers

    def probe(self) -> None:
        """See `EpisodeStore.probe`."""
        rows = pa.table({"k": pa.array([0], pa.uint8()), "version": pa.array([1], pa.uint64())})
        self._client.insert(CONTROL_DATABASE, "probe", rows)
        if self._client.column(f"SELECT version FROM {CONTROL_DATABASE}.probe FINAL") != ["1"]:  # noqa: S608 -- our names
            raise StoreUnavailable("the store does not return what was written")

    def _load(
        self, wanted: Mapping[bytes, Collection[int] | None], columns: Sequence[str]
    ) -> dict[bytes, StoredStream]:
        rows = {row["stream"]: row for row in self._rows("streams", f"stream IN ({_ids(wanted)})")}
        highest = self._highest([stream for stream, ordinals in wanted.items() if ordinals is not None])
        headers: dict[bytes, list[Row]] = {stream: [] for stream in wanted}
        for row in self._headers(wanted, highest, columns):
            headers[stream_of(row["episode"])].append(row)
        for stream in wanted.keys() - highest.keys():
            highest[stream] = max((ordinal_of(row["episode"]) for row in headers[stream]), default=0)
        return {
            stream: StoredStream(rows.get(stream), tuple(headers[stream]), highest[stream])
            for stream in wanted
        }

    def _highest(self, streams: Collection[bytes]) -> dict[bytes, int]:
        """The highest ordinal with a header row, of the streams that have any."""
        if not streams:
            return {}
        prefixes = ", ".join(f"unhex('{stream[:12].hex()}')" for stream in streams)
        sql = (
            f"SELECT max(episode) AS highest FROM {self._database}.episodes"  # noqa: S608 -- ids as hex
            f" WHERE substring(episode, 1, 12) IN ({prefixes}) GROUP BY substring(episode, 1, 12)"
        )
        found = self._client.table(sql)["highest"].to_pylist()
        return {stream_of(episode): ordinal_of(episode) for episode in found}

    def _headers(
        self,
        wanted: Mapping[bytes, Collection[int] | None],
        highest: Mapping[bytes, int],
        columns: Sequence[str],
    ) -> Iterator[Row]:
        ids: list[bytes] = []
        for stream, ordinals in wanted.items():
            if ordinals is None:
                first, last = episode_id(stream, 1), episode_id(stream, _LAST_ORDINAL)
                yield from self._rows("episodes", f"episode BETWEEN {_id(first)} AND {_id(last)}", columns)
            top = highest.get(stream, 0)
            ids += [episode_id(stream, ordinal) for ordinal in ordinals or () if 0 < ordinal <= top]
        for start in range(0, len(ids), KEYS_AT_ONCE):
            part = ids[start : start + KEYS_AT_ONCE]
            yield from self._rows("episodes", f"episode IN ({_ids(part)})", columns)

    def _rows(self, table: Table, condition: str, names: Sequence[str] = ()) -> list[Row]:
        known = self._columns[table]
        columns = {name: known[name] for name in names or known}
        sql = f"SELECT {', '.join(f'`{c}`' for c in columns)} FROM {self._database}.{table} FINAL WHERE {condition}"  # noqa: S608 -- ids as hex
        return rows_of_arrow(self._client.table(sql), columns)

    def _read_page(self, key: EpisodeKey, layout: Layout, first: int, last: int) -> pa.RecordBatch:
        schema = stored_rows_schema(layout)
        row_bytes = _ROW_OVERHEAD + sum(c.size * c.dtype.itemsize for c in layout.cells if c.is_numeric)
        limit = max(1, min(8_192, READ_BYTES // row_bytes))
        sql = (
            f"SELECT {', '.join(f'`{name}`' for name in schema.names)} FROM {self._database}.{layout.table} FINAL"  # noqa: S608 -- ids as hex
            f" WHERE benchmark = {_id(key.benchmark)} AND owner = {_id(key.owner)} AND episode = {_id(key.episode)}"
            f" AND step BETWEEN {first:d} AND {last:d} ORDER BY step LIMIT {limit:d}"
        )
        answer = self._client.table(sql).combine_chunks()
        columns = [_as_written(answer[item.name], item.type) for item in schema]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _has_step_table(self, table: str) -> bool:
        """Whether the table exists; another store of this generation may have made it."""
        if table not in self._step_tables:
            sql = f"SELECT DISTINCT name FROM {self._database}.step_tables"  # noqa: S608 -- our names
            self._step_tables.update(self._client.column(sql))
        return table in self._step_tables

    def _ensure_step_table(self, layout: Layout) -> None:
        with self._lock:
            if self._has_step_table(layout.table):
                return
            if len(self._step_tables) >= self._max_step_tables:
                raise NoMoreTables(f"there are {self._max_step_tables} step tables already, no more are made")
            self._client.command(step_table_ddl(self._database, layout))
            row = pa.table({"name": [layout.table], "layout": [layout.text]})
            self._client.insert(self._database, "step_tables", row)
            self._step_tables.add(layout.table)

    def _delete(self, table: str, keys: Sequence[EpisodeKey]) -> None:
        for start in range(0, len(keys), KEYS_AT_ONCE):
            part = keys[start : start + KEYS_AT_ONCE]
            listed = ", ".join(f"({_id(k.benchmark)}, {_id(k.owner)}, {_id(k.episode)})" for k in part)
            sql = (
                f"ALTER TABLE {self._database}.{table} DELETE WHERE (benchmark, owner, episode) IN ({listed})"
            )
            self._client.command(sql, {"mutations_sync": 1})

    def _describe(self, table: str) -> Columns:
        sql = (
            "SELECT name || '\\t' || type FROM system.columns"  # noqa: S608 -- our names
            f" WHERE database = '{self._database}' AND table = '{table}' AND default_kind = '' ORDER BY position"
        )
        return dict(line.split("\t") for line in self._client.column(sql))


def _as_written(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    """A column of an answer with the type that was written."""
    array = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(array.flatten(), type=kind)
    return array.cast(kind)


def _id(value: bytes) -> str:
    """An id as an SQL expression; hexadecimal digits need no quoting."""
    return f"toFixedString(unhex('{value.hex()}'), {len(value)})"


def _ids(values: Iterable[bytes]) -> str:
    return ", ".join(_id(value) for value in values)
