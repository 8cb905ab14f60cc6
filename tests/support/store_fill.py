"""A generation database with rows in it, without the ingest service: for tests of what reads the store."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import clickhouse_connect
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from support.migrated import migrated
from tupli_schemas.ids import LOCAL_SUBJECT, episode_id, id_text, make_id
from tupli_schemas.steps import Cell, Layout, Leaf, StepSchema, as_cells
from tupli_schemas.tables import CONTROL_DATABASE, INSERT_SETTINGS, generation_database, step_table_ddl

STREAM = make_id(1_700_000_000_000, 7)
BENCHMARK = make_id(1_700_000_000_000, 3)


def array_schema(observation: str = "f4[17]", action: str = "f4[6]", *, extra: str = "") -> StepSchema:
    """A step schema of one array each; `extra` is the cell of a fact named `x`."""
    cells = [Cell.parse(observation), Cell.parse(action)]
    observed, acted = ((Leaf("", cell),) for cell in cells)
    facts = (Leaf(".x", Cell.parse(extra)),) if extra else ()
    structures = [
        {"kind": "array", "dtype": cell.dtype.str, "shape": list(cell.shape), "box": "ndarray"}
        for cell in cells
    ]
    return StepSchema(
        observed, acted, facts, observation_structure=structures[0], action_structure=structures[1]
    )


@dataclass
class Rows:
    """One episode's columns: T transitions, and T+1 observations where `has_final`."""

    observation: npt.NDArray[Any]
    action: npt.NDArray[Any]
    reward: npt.NDArray[np.float64]
    terminated: bool = True
    truncated: bool = False
    aborted: bool = False
    has_final: bool = True
    infos: list[bytes] | None = None
    extra: list[npt.NDArray[Any]] = field(default_factory=list)
    """A column an extra fact, of T rows; of objects (bytes) where its cell is opaque."""
    ordinal: int = 1
    stream: bytes = STREAM
    benchmark: bytes = BENCHMARK
    owner: bytes = LOCAL_SUBJECT
    status: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    policy: str | None = None
    publish_in: list[str] = field(default_factory=list)
    prefix: int | None = None

    @property
    def n_steps(self) -> int:
        """Transitions."""
        return len(self.reward)

    @property
    def id(self) -> bytes:
        """The episode's id."""
        return episode_id(self.stream, self.ordinal)

    @property
    def effective_status(self) -> str:
        """The status that its flags say, unless one is given."""
        ended = "terminated" if self.terminated else "truncated" if self.truncated else "aborted"
        return self.status or ended


def random_rows(schema: StepSchema, n_steps: int, *, seed: int = 0, **members: Any) -> Rows:
    """An episode of random numbers of the schema's first leaves."""
    rng = np.random.default_rng(seed)

    def draw(cell: Cell, n: int) -> npt.NDArray[Any]:
        if cell.dtype.kind == "f":
            return rng.standard_normal((n, *cell.shape)).astype(cell.dtype)
        return rng.integers(0, 2 if cell.code == "b1" else 100, (n, *cell.shape)).astype(cell.dtype)

    final = int(members.get("has_final", True))
    return Rows(
        observation=draw(schema.observation[0].cell, n_steps + final),
        action=draw(schema.action[0].cell, n_steps),
        reward=rng.standard_normal(n_steps),
        **members,
    )


class StoreFill:
    """Creates the databases at `path` and inserts rows; merges are stopped so that duplicates stay."""

    def __init__(self, path: Path, *, generation: int = 1, merges: bool = False) -> None:
        self._path = path
        self._generations = itertools.count(generation + 1)
        self._client = clickhouse_connect.get_client(interface="chdb", path=str(path))
        self.database = generation_database(generation)
        self._offset = 0
        self._merges = merges
        migrated(self._client, CONTROL_DATABASE, "control")
        migrated(self._client, self.database, "generation")
        self.serve(generation)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def generation(self) -> "StoreFill":
        """The next generation, empty, in the same store; it serves at once."""
        return StoreFill(self._path, generation=next(self._generations), merges=self._merges)

    def command(self, text: str) -> Any:
        """Run any statement."""
        return self._client.command(text)

    def serve(self, generation: int) -> None:
        """Make a generation the serving one."""
        self._client.command(
            f"INSERT INTO {CONTROL_DATABASE}.serving (k, generation, switched_at, version) "
            f"SELECT 1, {generation}, now64(3), 1 + (SELECT count() FROM {CONTROL_DATABASE}.serving)"
        )

    def benchmark(
        self,
        name: str = "bench",
        *,
        benchmark: bytes = BENCHMARK,
        owner: bytes = LOCAL_SUBJECT,
        **members: Any,
    ) -> None:
        """A benchmark of the catalogue."""
        row = {
            "id": benchmark, "owner": owner, "name": name, "descriptor": "{}", "hash": "h", "description": "",
            "difficulty": "", "benchmark_version": "", "extra": "{}", "created_at": 1_000_000, "version": 1,
        } | members  # fmt: skip
        self._insert("benchmarks", [row])

    def episodes(self, schema: StepSchema, episodes: Iterable[Rows]) -> None:
        """Steps in one block, then the headers, as the processor writes them."""
        items = list(episodes)
        self.table(schema.layout)
        self.steps(schema, items)
        self._insert("episodes", [self.header(schema, rows) for rows in items])

    def table(self, layout: Layout) -> None:
        """The layout's step table."""
        self._client.command(step_table_ddl(self.database, layout))
        if not self._merges:
            self._client.command(f"SYSTEM STOP MERGES {self.database}.{layout.table}")
        self._insert("step_tables", [{"name": layout.table, "layout": layout.text}])

    def steps(self, schema: StepSchema, items: Sequence[Rows], *, offset: int | None = None) -> None:
        """The rows of episodes as one block, at one offset of the log (a new one unless given)."""
        self._offset += 1
        tables = [_steps_table(schema, rows, self._offset if offset is None else offset) for rows in items]
        self._client.insert_arrow(
            schema.layout.table, pa.concat_tables(tables), database=self.database, settings=INSERT_SETTINGS
        )

    def header(self, schema: StepSchema, rows: Rows, **members: Any) -> dict[str, Any]:
        """The row of `episodes`; `members` replace what the episode says."""
        self._offset += 1
        ended = rows.effective_status in {"terminated", "truncated", "aborted"}
        prefix = rows.n_steps if rows.prefix is None else rows.prefix
        return {
            "benchmark": rows.benchmark, "owner": rows.owner, "episode": rows.id, "slot": 0,
            "layout": schema.layout.text, "step_schema": orjson.dumps(schema.to_json()).decode(),
            "started_at": rows.ordinal * 1_000, "ended_at": rows.ordinal * 1_000 + 500 if ended else 0,
            "received_at": rows.ordinal * 1_000_000, "seed": "null", "options": "null", "reset_info": "null", "run": "run-1",
            "policy": rows.policy, "environment": "{}", "versions": "{}",
            "metadata": orjson.dumps(rows.metadata).decode(),
            "metadata_str": {k: v for k, v in rows.metadata.items() if isinstance(v, str)},
            "metadata_num": {k: str(v) for k, v in rows.metadata.items() if isinstance(v, int | float)},
            "publish_in": rows.publish_in, "has_start": 1, "ended": int(ended),
            "terminated": int(rows.terminated), "truncated": int(rows.truncated), "aborted": int(rows.aborted),
            "discarded": 0, "reason": "", "n_steps": rows.n_steps, "prefix": prefix,
            "has_final": int(rows.has_final), "return": float(rows.reward.sum()), "digest": "", "conflict": 0,
            "conflict_reason": "", "status": rows.effective_status, "log_generation": 1, "partition": 0,
            "offset": self._offset, "ended_offset": self._offset, "version": 1 + self._offset,
        } | members  # fmt: skip

    def _insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Rows through JSON, ids as hexadecimal text."""
        columns = list(rows[0])
        selected = ", ".join(
            f"unhex(`{name}`) AS `{name}`" if isinstance(rows[0][name], bytes) else f"`{name}`"
            for name in columns
        )
        types = ", ".join(f"`{name}` {_structure_type(rows[0][name])}" for name in columns)
        lines = [{n: v.hex() if isinstance(v, bytes) else v for n, v in row.items()} for row in rows]
        body = b"\n".join(map(orjson.dumps, lines)).decode().replace("\\", "\\\\").replace("'", "\\'")
        names = ", ".join(f"`{name}`" for name in columns)
        self._client.command(
            f"INSERT INTO {self.database}.{table} ({names}) "
            f"SELECT {selected} FROM format(JSONEachRow, '{types}', '{body}')"
        )


def _structure_type(value: Any) -> str:
    if isinstance(value, list):
        return "Array(String)"
    if isinstance(value, dict):
        return "Map(String, String)"
    if isinstance(value, int):
        return "Int64"
    return "Float64" if isinstance(value, float) else "Nullable(String)" if value is None else "String"


def _steps_table(schema: StepSchema, rows: Rows, offset: int) -> pa.Table:
    """The block of one episode: transitions, then the row with the final observation."""
    n = rows.n_steps + int(rows.has_final)
    pad = n - rows.n_steps
    last = np.arange(n) == rows.n_steps - 1
    action = np.concatenate([rows.action, np.zeros((pad, *rows.action.shape[1:]), rows.action.dtype)])
    ids = {name: pa.array([getattr(rows, key)] * n, pa.binary(16)) for name, key in _IDS.items()}
    infos = [*(rows.infos or [b"{}"] * rows.n_steps), *([b"{}"] * pad)]
    columns: dict[str, Any] = ids | {
        "step": np.arange(n, dtype=np.uint64),
        "is_final": (np.arange(n) >= rows.n_steps).astype(np.uint8),
        "reward": np.concatenate([rows.reward.astype(np.float64), np.zeros(pad)]),
        "terminated": (last & rows.terminated).astype(np.uint8),
        "truncated": (last & rows.truncated).astype(np.uint8),
        "time": np.arange(n, dtype=np.int64),
        "info": pa.array(infos, pa.binary()),
        "log_generation": np.ones(n, np.uint32),
        "partition": np.zeros(n, np.uint32),
        "offset": np.full(n, offset, np.uint64),
        "o0": as_cells(rows.observation, schema.observation[0].cell),
        "a0": as_cells(action, schema.action[0].cell),
    }
    for index, (facts, leaf) in enumerate(zip(rows.extra, schema.extra, strict=False)):
        if leaf.cell.is_opaque:
            columns[f"x{index}"] = pa.array([*facts, *([b""] * pad)], pa.binary())
        else:
            padded = np.concatenate([facts, np.zeros((pad, *facts.shape[1:]), facts.dtype)])
            columns[f"x{index}"] = as_cells(padded, leaf.cell)
    return pa.table(columns)


_IDS = {"benchmark": "benchmark", "owner": "owner", "episode": "id"}


def episode_ids(items: Iterable[Rows]) -> list[str]:
    """The ids as text."""
    return [id_text(rows.id) for rows in items]
