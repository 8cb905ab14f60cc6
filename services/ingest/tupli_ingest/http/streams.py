"""`GET /ingest/v1/streams/{id}`: what of a recording stream has been processed, and what is still missing."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Response

from tupli_ingest.core.ports import Row, StoredStream
from tupli_ingest.http.problem_answers import Refused, json_answer
from tupli_schemas.errors import InvalidId
from tupli_schemas.ids import id_text, ordinal_of, parse_id
from tupli_schemas.problems import Problem

LoadStream = Callable[[bytes], StoredStream]
"""What is known of a stream, with all its episodes (of them at least `EPISODE_COLUMNS`)."""
EPISODE_COLUMNS: Final = ("episode", "status", "prefix", "n_steps", "conflict_reason", "has_start", "version")


def streams_router(load: LoadStream) -> APIRouter:
    """The stream's numbers and episodes, as the store shows them."""
    router = APIRouter()

    @router.get("/ingest/v1/streams/{stream_id}")
    async def stream(stream_id: str) -> Response:
        stream = _stream_id(stream_id)
        stored = await asyncio.to_thread(load, stream)
        if stored.stream is None:
            raise Refused(
                Problem("unknown_stream", "Nothing of this stream has been processed.", "stream_id")
            )
        return json_answer(stream_json(stored.stream, stored.episodes))

    return router


def stream_json(row: Row, episodes: tuple[Row, ...]) -> dict[str, Any]:
    """The answer of a stream's row and its header rows."""
    received = [[first, last] for first, last in row["received"]]
    newest = {e["episode"]: e for e in sorted(episodes, key=lambda e: (e["has_start"], e["version"]))}
    return {
        "stream": id_text(row["stream"]),
        "owner": id_text(row["owner"]),
        "received": received,
        "expected": received[0][1] + 1 if received and received[0][0] == 1 else 1,
        "episodes": [_episode_json(newest[episode]) for episode in sorted(newest)],
        "position": {name: row[c] for name, c in _POSITION.items()},
    }


_POSITION = {"generation": "log_generation", "partition": "partition", "offset": "offset"}


def _episode_json(row: Row) -> dict[str, Any]:
    same = {name: row[name] for name in ("status", "prefix", "n_steps", "conflict_reason")}
    return {"id": id_text(row["episode"]), "ordinal": ordinal_of(row["episode"])} | same


def _stream_id(text: str) -> bytes:
    try:
        stream = parse_id(text)
    except InvalidId as error:
        raise Refused(Problem("invalid_request", str(error), "stream_id")) from error
    if ordinal_of(stream):
        raise Refused(Problem("invalid_request", "is an episode's id, not a stream's", "stream_id"))
    return stream
