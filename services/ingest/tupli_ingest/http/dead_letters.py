"""`/ingest/v1/dead-letters`: what could not be processed: a page, one of them, and all of it once more."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final, TypeVar

import structlog
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from tupli_ingest.core.errors import Unavailable
from tupli_ingest.core.letter_text import describe
from tupli_ingest.core.ports import CODES, EventLog, KeptLetter, KeptLetters
from tupli_ingest.core.replaying import (
    SCAN_LETTERS,
    Batch,
    Places,
    first_of_each,
    next_batch,
    one_letter,
    record_of,
)
from tupli_ingest.http.events import not_now, positions_or_refuse
from tupli_ingest.http.problem_answers import Refused, json_answer
from tupli_schemas.direct import place_of
from tupli_schemas.ids import id_text
from tupli_schemas.problems import Problem
from tupli_schemas.records import Position

T = TypeVar("T")
MAX_INDEX: Final = 2**62
ID_BYTES: Final = 16
Index = Annotated[int, Field(ge=0, le=MAX_INDEX)]


class Replay(BaseModel):
    """Which letters: these, or those of a code above `after` up to `until` (the newest when left out)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    indexes: list[Index] = Field(default=[], max_length=SCAN_LETTERS)
    code: str = Field(default="", max_length=64)
    after: Index | None = None
    until: Index | None = None


def dead_letters_router(
    letters: KeptLetters, log: EventLog, places: Places, *, retry_after_s: int = 1
) -> APIRouter:
    """The routes for people who look after dead letters. `places` opens the log to read single records."""
    router = APIRouter()
    desk = _Desk(letters, log, places, retry_after_s)

    @router.get("/ingest/v1/dead-letters")
    async def page(
        after: Annotated[int | None, Query(ge=0, le=MAX_INDEX)] = None,
        limit: Annotated[int, Query(ge=1, le=SCAN_LETTERS)] = 100,
    ) -> Response:
        return json_answer(await desk.asked(lambda: desk.page(after, limit)))

    @router.get("/ingest/v1/dead-letters/{index}")
    async def one(index: Index) -> Response:
        return json_answer(await desk.asked(lambda: desk.show(index)))

    @router.post("/ingest/v1/dead-letters/replay")
    async def replay(wanted: Replay) -> Response:
        if bool(wanted.indexes) == bool(wanted.code):
            raise Refused(Problem("invalid_request", "Name either indexes or a code.", "indexes"))
        if wanted.code and wanted.code not in CODES:
            told = f"{wanted.code!r} is no code of dead letters: they are {', '.join(sorted(CODES))}."
            raise Refused(Problem("invalid_request", told, "code"))
        return json_answer(await desk.replay(wanted))

    return router


class _Desk:
    """What the routes do. Methods that are not `async` ask the log, on a thread (`asked`)."""

    def __init__(self, letters: KeptLetters, log: EventLog, places: Places, retry_after_s: int) -> None:
        self._letters = letters
        self._log = log
        self._places = places
        self._retry_after_s = retry_after_s
        self._told = structlog.get_logger("tupli_ingest.dead_letters")

    async def asked(self, ask: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(ask)
        except Unavailable as error:
            raise not_now(self._retry_after_s) from error

    def page(self, after: int | None, limit: int) -> dict[str, Any]:
        found = self._letters.entries(after, limit)
        last = found[-1].index if found else after
        return {
            "letters": [summary(kept) for kept in found],
            "after": last,
            "newest": self._letters.newest(),
        }

    def show(self, index: int) -> dict[str, Any]:
        kept = self._one(index, "index")
        with self._places() as read:
            record = record_of(kept.letter, read)
        return summary(kept) | {"record": None if record is None else describe(kept.letter.topic, record)}

    async def replay(self, wanted: Replay) -> dict[str, Any]:
        found, after, until = await self.asked(lambda: self._chosen(wanted))
        rest = first_of_each(found)
        replayed: list[dict[str, Any]] = []
        skipped: list[dict[str, Any]] = []
        while rest:
            batch = await self.asked(partial(self._prepared, rest))
            replayed += await self._append(batch)
            skipped += [{"index": index, "reason": reason} for index, reason in batch.skipped]
            rest = rest[batch.taken :]
        return {"replayed": replayed, "skipped": skipped, "after": after, "until": until}

    def _one(self, index: int, place: str) -> KeptLetter:
        kept = one_letter(self._letters, index)
        if kept is None:
            raise Refused(Problem("not_found", f"There is no dead letter {index}.", place))
        return kept

    def _chosen(self, wanted: Replay) -> tuple[list[KeptLetter], int | None, int | None]:
        """The letters; where to go on, if there may be more; and the last index of all that is asked for.

        What a replay leads to is behind that: it is never replayed by the request that it came from.
        """
        if wanted.indexes:
            return [self._one(index, "indexes") for index in sorted(set(wanted.indexes))], None, None
        until = self._letters.newest() if wanted.until is None else wanted.until
        if until is None:
            return [], None, None
        page = self._letters.entries(wanted.after, max_records=SCAN_LETTERS)
        some = [kept for kept in page if kept.index <= until]
        after = some[-1].index if some and some[-1].index < until else None
        return [one for one in some if one.letter.code == wanted.code], after, until

    def _prepared(self, rest: list[KeptLetter]) -> Batch:
        with self._places() as read:
            return next_batch(rest, read)

    async def _append(self, batch: Batch) -> list[dict[str, Any]]:
        done = []
        for topic in dict.fromkeys(kept.letter.topic for kept, _ in batch.ready):
            some = [(kept, record) for kept, record in batch.ready if kept.letter.topic == topic]
            records = [record for _, record in some]
            positions = await positions_or_refuse(self._log, topic, records, self._retry_after_s)
            for (kept, _), position in zip(some, positions, strict=True):
                done.append({"index": kept.index, "topic": topic, "position": position_json(position)})
                self._told.info("replayed", index=kept.index, topic=topic, offset=position.offset)
        return done


def summary(kept: KeptLetter) -> dict[str, Any]:
    """A letter without its record. `size` is that of the payload, where the letter itself has it."""
    letter = kept.letter
    return {
        "index": kept.index,
        "topic": letter.topic,
        "position": position_json(letter.position),
        "code": letter.code,
        "reason": letter.reason,
        "stream": id_text(letter.key) if len(letter.key) == ID_BYTES else letter.key.hex(),
        "kept_at": datetime.fromtimestamp(kept.kept_at / 1_000, UTC).isoformat(timespec="milliseconds"),
        "size": len(letter.payload) or None,
    }


def position_json(position: Position) -> dict[str, int]:
    """A position in its topic."""
    _, partition = place_of(position.partition)
    return {"generation": position.generation, "partition": partition, "offset": position.offset}
