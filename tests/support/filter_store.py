"""A generation database in chDB that holds chosen episodes, and answers compiled queries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import chdb
import clickhouse_connect
import numpy as np
import orjson
import pyarrow as pa

from support.filter_oracle import Episode, Row
from support.migrated import migrated
from tupli_query.core.sql import CompiledQuery
from tupli_schemas.ids import LOCAL_SUBJECT, stream_of
from tupli_schemas.index import index_one
from tupli_schemas.steps import Cell, Layout, StepSchema, as_cells
from tupli_schemas.tables import INSERT_SETTINGS, generation_database, step_table_ddl

_INDEX: Final = pa.schema(
    [
        ("num", pa.map_(pa.string(), pa.float64())),
        ("int", pa.map_(pa.string(), pa.int64())),
        ("str", pa.map_(pa.string(), pa.binary())),
        ("other", pa.list_(pa.string())),
    ]
)


@dataclass
class Recorded:
    """An episode with its rows; `final` is the observation it ended on, `owner` whose it is."""

    benchmark: bytes
    episode: bytes
    facts: Episode
    rows: list[Row]
    final: dict[str, Any] | None
    owner: bytes = LOCAL_SUBJECT
    publish_in: tuple[str, ...] = ()
    columns: dict[str, Any] = field(default_factory=dict)


class FilterStore:
    """One generation; several may live in one engine."""

    def __init__(self, path: Path, generation: int = 1) -> None:
        self._client = clickhouse_connect.get_client(interface="chdb", path=str(path))
        connect: Any = chdb.connect  # with types or without: see `tupli_query.adapters.chdb_reader`
        self._reader: Any = connect(str(path))
        self.database = generation_database(generation)
        migrated(self._client, self.database, "generation")

    def close(self) -> None:
        """Close both connections."""
        self._reader.close()
        self._client.close()

    def run(self, query: CompiledQuery) -> list[dict[str, Any]]:
        """The rows of a query, texts and ids as bytes."""
        text = f"{query.text}, output_format_arrow_string_as_string = 0"
        answer = self._reader.query(text, "Arrow", params=query.params).bytes()
        rows: list[dict[str, Any]] = (
            pa.ipc.open_file(pa.py_buffer(answer)).read_all().to_pylist() if answer else []
        )
        return rows

    def table(self, layout: Layout) -> None:
        """The step table of a layout; its duplicates stay unmerged."""
        self._client.command(step_table_ddl(self.database, layout))
        self._client.command(f"SYSTEM STOP MERGES {self.database}.{layout.table}")

    def insert(self, table: str, columns: dict[str, Any]) -> None:
        """Rows, by column."""
        self._client.insert_arrow(table, pa.table(columns), database=self.database, settings=INSERT_SETTINGS)

    def record(self, schema: StepSchema, items: Sequence[Recorded], *, offset: int = 10) -> None:
        """Steps and headers of episodes."""
        self.insert(schema.layout.table, step_columns_of(schema, items, offset))
        self.insert("episodes", _episode_columns(schema, items, offset))

    def benchmarks(self, rows: Iterable[tuple[bytes, bytes, str, dict[str, Any]]]) -> None:
        """Benchmarks of the catalogue: id, owner, name, extra."""
        ids, owners, names, extras = zip(*rows, strict=True)
        empty = [""] * len(ids)
        self.insert(
            "benchmarks",
            {
                "id": pa.array(ids, pa.binary(16)), "owner": pa.array(owners, pa.binary(16)), "name": names,
                "descriptor": empty, "hash": empty, "description": empty, "difficulty": empty,
                "benchmark_version": empty, "extra": ["{}"] * len(ids), **_index("extra", extras),
                "created_at": [1_000_000] * len(ids), "version": pa.array([1] * len(ids), pa.uint64()),
            },
        )  # fmt: skip

    def publish(
        self, kind: str, target: bytes, scope: str, subject: bytes, *, published: bool = True
    ) -> None:
        """A row of `publications`."""
        self.insert(
            "publications",
            {
                "kind": [kind], "id": pa.array([target], pa.binary(16)), "scope": [scope],
                "subject": pa.array([subject], pa.binary(16)), "published": pa.array([int(published)], pa.uint8()),
                "version": pa.array([1], pa.uint64()),
            },
        )  # fmt: skip

    def delete(self, kind: str, target: bytes, subject: bytes) -> None:
        """A row of `deletions`."""
        self.insert(
            "deletions",
            {
                "kind": [kind], "id": pa.array([target], pa.binary(16)),
                "subject": pa.array([subject], pa.binary(16)), "deleted_at": [1],
                "version": pa.array([1], pa.uint64()),
            },
        )  # fmt: skip


def step_columns_of(schema: StepSchema, items: Sequence[Recorded], offset: int) -> dict[str, Any]:
    """The rows of episodes as columns of their step table."""
    rows = [(item, row) for item in items for row in [*item.rows, *_final(item)]]
    infos = [row.info for _, row in rows]
    out: dict[str, Any] = {
        "benchmark": pa.array([item.benchmark for item, _ in rows], pa.binary(16)),
        "owner": pa.array([item.owner for item, _ in rows], pa.binary(16)),
        "episode": pa.array([item.episode for item, _ in rows], pa.binary(16)),
        "step": pa.array([row.step for _, row in rows], pa.uint64()),
        "is_final": pa.array([row.step == len(item.rows) for item, row in rows]).cast(pa.uint8()),
        "reward": pa.array([row.reward for _, row in rows], pa.float64()),
        "terminated": pa.array([int(row.terminated) for _, row in rows], pa.uint8()),
        "truncated": pa.array([int(row.truncated) for _, row in rows], pa.uint8()),
        "time": pa.array([row.time for _, row in rows], pa.int64()),
        "info": pa.array([b"{}"] * len(rows), pa.binary()),
        "log_generation": pa.array([1] * len(rows), pa.uint32()),
        "partition": pa.array([0] * len(rows), pa.uint32()),
        "offset": pa.array([offset] * len(rows), pa.uint64()),
        **_index("info", infos),
    }
    for group in ("observation", "action", "extra"):
        for i, leaf in enumerate(schema.leaves(group)):
            values = [getattr(row, group)[leaf.path] for _, row in rows]
            out[schema.column(group, i)] = _cells(values, leaf.cell)
    return out


def _final(item: Recorded) -> list[Row]:
    if item.final is None:
        return []
    last = item.rows[-1]
    zero = {
        path: value if isinstance(value, str | bytes) else value * 0 for path, value in last.action.items()
    }
    return [
        Row(last.step + 1, item.final, zero, None, 0.0, terminated=False, truncated=False, time=last.time,
            info={}, extra=last.extra, episode=item.facts)
    ]  # fmt: skip


def _cells(values: list[Any], cell: Cell) -> pa.Array:
    if cell.is_numeric:
        return as_cells(np.stack([np.asarray(value, cell.storage_dtype) for value in values]), cell)
    raw = [v.encode("utf-8", "surrogatepass") if isinstance(v, str) else v for v in values]
    return pa.array(raw, pa.binary())


def _episode_columns(schema: StepSchema, items: Sequence[Recorded], offset: int) -> dict[str, Any]:
    names = ("started_at", "ended_at", "run", "policy", "slot", "terminated", "truncated", "return", "status")
    facts = {name: [item.facts.fields[name] for item in items] for name in names}
    n = len(items)
    counts = pa.array([len(item.rows) for item in items], pa.uint64())
    ended = [item.facts.fields["ended_at"] is not None for item in items]
    columns: dict[str, Any] = {
        "benchmark": pa.array([item.benchmark for item in items], pa.binary(16)),
        "owner": pa.array([item.owner for item in items], pa.binary(16)),
        "episode": pa.array([item.episode for item in items], pa.binary(16)),
        "layout": [schema.layout.text] * n,
        "step_schema": [orjson.dumps(schema.to_json()).decode()] * n,
        "slot": pa.array(facts["slot"], pa.uint32()),
        "started_at": pa.array(facts["started_at"], pa.int64()),
        "ended_at": pa.array([value or 0 for value in facts["ended_at"]], pa.int64()),
        "received_at": pa.array([0] * n, pa.int64()),
        "seed": [_seed_text(item.facts.fields["seed"]) for item in items],
        "run": facts["run"], "policy": pa.array(facts["policy"], pa.string()),
        "metadata": ["{}"] * n, **_index("metadata", [item.facts.metadata for item in items]),
        "publish_in": pa.array([list(item.publish_in) for item in items], pa.list_(pa.string())),
        "has_start": pa.array([1] * n, pa.uint8()), "ended": pa.array([int(e) for e in ended], pa.uint8()),
        "terminated": pa.array([int(v) for v in facts["terminated"]], pa.uint8()),
        "truncated": pa.array([int(v) for v in facts["truncated"]], pa.uint8()),
        "discarded": pa.array([0] * n, pa.uint8()),
        "n_steps": counts, "prefix": counts,
        "has_final": pa.array([int(item.final is not None) for item in items], pa.uint8()),
        "return": pa.array(facts["return"], pa.float64()), "status": facts["status"],
        "log_generation": pa.array([1] * n, pa.uint32()), "partition": pa.array([0] * n, pa.uint32()),
        "offset": pa.array([offset] * n, pa.uint64()), "ended_offset": pa.array([offset] * n, pa.uint64()),
        "version": pa.array([offset + 1] * n, pa.uint64()),
    }  # fmt: skip
    for name in {name for item in items for name in item.columns}:
        columns[name] = pa.array(
            [item.columns.get(name, columns[name][i]) for i, item in enumerate(items)],
            columns[name].type if isinstance(columns.get(name), pa.Array) else None,
        )
    return columns


def _seed_text(seed: Any) -> str:
    return "null" if seed is None else str(seed)


def _index(prefix: str, values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows = [index_one(value) for value in values]
    columns: tuple[list[Any], ...] = (
        [list(row.num.items()) for row in rows],
        [list(row.int_.items()) for row in rows],
        [list(row.str_.items()) for row in rows],
        [row.other for row in rows],
    )
    return {
        f"{prefix}_{field.name}": pa.array(_raw(column), field.type)
        for field, column in zip(_INDEX, columns, strict=True)
    }


def _raw(column: Sequence[Any]) -> list[Any]:
    """Texts as bytes: Arrow's text refuses surrogates."""
    return [
        [
            (p[0], p[1].encode("utf-8", "surrogatepass") if isinstance(p[1], str) else p[1])
            if isinstance(p, tuple)
            else p
            for p in row
        ]
        for row in column
    ]


def fields_of(episode: bytes, benchmark: bytes, **members: Any) -> dict[str, Any]:
    """The fields of an episode as the oracle reads them."""
    return {
        "id": episode, "benchmark_id": benchmark, "created_by": LOCAL_SUBJECT, "stream": stream_of(episode),
        "alignment": "pre_step",
    } | members | {"created_at": members["started_at"]}  # fmt: skip
