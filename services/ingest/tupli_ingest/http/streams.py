"""`GET /ingest/v1/streams/{id}`: what of a recording stream has been processed, and what is still missing."""

import asyncio
import itertools
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from fastapi import APIRouter, Response

from tupli_ingest.core.ports import Row, StoredStream
from tupli_ingest.http.problem_answers import Refused, json_answer
from tupli_schemas.errors import InvalidId
from tupli_schemas.ids import id_text, ordinal_of, parse_id
from tupli_schemas.problems import Problem

LoadStreams = Callable[[Collection[bytes]], Mapping[bytes, StoredStream]]
"""What is known of streams, with all their episodes (of them at least `EPISODE_COLUMNS`)."""
AT_ONCE: Final = 256
EPISODE_COLUMNS: Final = ("episode", "status", "prefix", "n_steps", "conflict_reason", "has_start", "version")


def streams_router(load: LoadStreams) -> APIRouter:
    """The stream's numbers and episodes, as the store shows them."""
    router, loads = APIRouter(), SharedLoads(load)

    @router.get("/ingest/v1/streams/{stream_id}")
    async def stream(stream_id: str) -> Response:
        stream = _stream_id(stream_id)
        stored = await loads.of(stream)
        if stored.stream is None:
            raise Refused(
                Problem("unknown_stream", "Nothing of this stream has been processed.", "stream_id")
            )
        return json_answer(stream_json(stored.stream, stored.episodes))

    return router


class SharedLoads:
    """Asks the store for one or many streams at a time: what is wanted while it answers goes together in the next question.

    A thousand recorders that close at once ask again and again, and would keep the store from what they wait for.
    """

    def __init__(self, load: LoadStreams, *, at_once: int = AT_ONCE) -> None:
        self._load, self._at_once = load, at_once
        self._wanted: dict[bytes, asyncio.Future[StoredStream]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def of(self, stream: bytes) -> StoredStream:
        """What is known of a stream, asked after this call.

        Raises:
            StoreUnavailable: The store does not answer.
        """
        if stream not in self._wanted:
            self._wanted[stream] = asyncio.get_running_loop().create_future()
        found = self._wanted[stream]
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(found)  # others may wait for it when this request is given up

    async def _ask(self) -> None:
        while self._wanted:
            part = dict(itertools.islice(self._wanted.items(), self._at_once))
            for stream in part:
                del self._wanted[stream]
            try:
                known = await asyncio.to_thread(self._load, list(part))
                answers = [(found, known[stream]) for stream, found in part.items()]
            except Exception as error:  # noqa: BLE001 -- it belongs to those who asked
                for found in part.values():
                    found.set_exception(error)
                    found.exception()  # seen: whoever asked may have gone
            else:
                for found, answer in answers:
                    found.set_result(answer)
        self._asking = None


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
