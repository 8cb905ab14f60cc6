"""Headers of episodes and benchmarks, from rows of the store, for `orjson.dumps`.

What is stored as JSON is passed on as it stands: a decoded text may take twenty times its size. The texts of
headers have any size. They are read for so many episodes at a time as `HEADER_PORTION_BYTES` hold, for one at least.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from tupli_query.core.context import Context
from tupli_query.core.header_statements import read_headers
from tupli_query.core.reader import StoreReader
from tupli_schemas.ids import id_text, stream_of
from tupli_schemas.times import time_text

HEADER_PORTION_BYTES: Final = 4 * 1024 * 1024
"""The engine takes some six times as much to read them."""
HEADER_OVERHEAD: Final = 1_024
"""Of a header beside its texts."""

Row = Mapping[str, Any]


def portion(rows: Sequence[Row]) -> int:
    """How many of the first rows of a listing have headers that are read together; at least one, if there is one."""
    size = 0
    for count, row in enumerate(rows):
        size += header_size(row)
        if count and size > HEADER_PORTION_BYTES:
            return count
    return len(rows)


def header_size(row: Row) -> int:
    """About how large the header of a row with `header_bytes` is; 0 where nobody asked for it."""
    return int(row["header_bytes"]) + HEADER_OVERHEAD if "header_bytes" in row else 0


def read_whole(reader: StoreReader, context: Context, rows: Sequence[Row]) -> list[dict[str, Any] | None]:
    """The headers of a portion of a listing of `HEADER_FACTS`; None for an episode that is gone since."""
    keys = [(bytes(row["benchmark"]), bytes(row["owner"]), bytes(row["episode"])) for row in rows]
    texts = {
        (bytes(found["benchmark"]), bytes(found["owner"]), bytes(found["episode"])): found
        for found in (reader.select(read_headers(context, keys)) if keys else ())
    }
    return [
        episode_header({**row, **texts[key]}) if key in texts else None
        for key, row in zip(keys, rows, strict=True)
    ]


def episode_header(row: Mapping[str, Any]) -> dict[str, Any]:
    """The header of a row with `header_statements.HEADER_FACTS` and `HEADER_TEXTS`.

    `metadata`, `options`, `reset_info` and `seed` are tagged JSON (`tupli_schemas.values`).
    """
    created = row["started_at"] or row["received_at"]
    return {
        "id": id_text(row["episode"]),
        "benchmark_id": id_text(row["benchmark"]),
        "created_by": id_text(row["owner"]),
        "created_at": time_text(created),
        "started_at": time_text(created),
        "ended_at": time_text(row["ended_at"]) if row["ended"] else None,
        "status": text(row["state"]),
        "n_tuples": row["n_tuples"],
        "return": row["return"],
        "seed": value(row["seed"]),
        "run": text(row["run"]),
        "policy": None if row["policy"] is None else text(row["policy"]),
        "stream": id_text(stream_of(row["episode"])),
        "slot": row["slot"],
        "terminated": bool(row["terminated"]),
        "truncated": bool(row["truncated"]),
        "timeout": bool(row["truncated"]),
        "published_in": [text(scope) for scope in row["scopes"]],
        "alignment": "pre_step",
        "metadata": value(row["metadata"]),
        "environment": value(row["environment"]),
        "versions": value(row["versions"]),
        "options": value(row["options"]),
        "reset_info": value(row["reset_info"]),
        "reason": text(row["reason"]),
        "digest": text(row["digest"]),
        "has_final": bool(row["has_final"]),
        "layout": text(row["layout"]),
        "conflict_reason": text(row["conflict_reason"]),
    }


def benchmark_header(row: Mapping[str, Any]) -> dict[str, Any]:
    """The header of a row of `statements.list_benchmarks`."""
    return {
        "id": id_text(row["id"]),
        "name": text(row["name"]),
        "owner": id_text(row["owner"]),
        "description": text(row["description"]),
        "difficulty": text(row["difficulty"]),
        "version": text(row["benchmark_version"]),
        "hash": text(row["hash"]),
        "created_by": id_text(row["owner"]),
        "created_at": time_text(row["created_at"]),
        "published_in": [text(scope) for scope in row["scopes"]],
        "extra": value(row["extra"]),
        "descriptor": value(row["descriptor"]),
    }


def text(raw: bytes | str) -> str:
    """Stored text."""
    return raw if isinstance(raw, str) else raw.decode("utf-8", "replace")


def value(raw: bytes | str) -> Any:
    """Stored JSON, as it stands; nothing is None."""
    return orjson.Fragment(raw) if raw else None
