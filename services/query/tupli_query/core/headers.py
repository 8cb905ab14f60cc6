"""Headers of episodes and benchmarks as JSON, from rows of the store."""

from collections.abc import Mapping
from typing import Any

import orjson

from tupli_schemas.ids import id_text, stream_of
from tupli_schemas.times import time_text


def episode_header(row: Mapping[str, Any]) -> dict[str, Any]:
    """The header of a row of `statements.list_episodes` with all columns.

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
    """Stored JSON; nothing is None."""
    return orjson.loads(raw) if raw else None
