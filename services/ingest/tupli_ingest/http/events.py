"""`POST /ingest/v1/events`: framed events, all validated before one is accepted, durable when answered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import APIRouter, Request, Response

from tupli_ingest.core.errors import LogFull, RequestRefused, Unavailable
from tupli_ingest.core.meters import NO_METER, Meter
from tupli_ingest.core.ports import EventLog
from tupli_ingest.core.validation import Accepted
from tupli_ingest.http.bodies import EVENTS_MEDIA_TYPE, InFlight, frames_of, require_media_type
from tupli_ingest.http.identity import Caller, Identify
from tupli_ingest.http.problem_answers import Refused, json_answer
from tupli_schemas.errors import FrameError
from tupli_schemas.events import EPISODES_TOPIC
from tupli_schemas.framing import Frame
from tupli_schemas.ids import id_text
from tupli_schemas.problems import Problem
from tupli_schemas.records import NewRecord, Position

DECODING_THREADS: Final = 2
RAW_FACTOR: Final = 2
"""How much larger than its body the events of a request may be once they are decompressed."""


Validate = Callable[[Sequence[Frame], Caller], Accepted]
"""Decodes and checks the events of a request; raises `RequestRefused`."""


@dataclass(frozen=True, slots=True)
class EventLimits:
    """Bytes of a body and of one event, and after how many seconds to try again."""

    body_bytes: int
    event_bytes: int
    retry_after_s: int


def events_router(
    log: EventLog,
    validate: Validate,
    *,
    identify: Identify,
    in_flight: InFlight,
    limits: EventLimits,
    linger_ms: Callable[[], int],
    meter: Meter = NO_METER,
) -> APIRouter:
    """The route that takes events."""
    router = APIRouter()
    decoding = CapacityLimiter(DECODING_THREADS)

    def accept(body: bytes, caller: Caller) -> tuple[Accepted, int]:
        frames = frames_of(
            body, max_frame_bytes=limits.event_bytes, max_raw_bytes=RAW_FACTOR * limits.body_bytes
        )
        accepted = validate(frames, caller)
        return accepted, steps_of(accepted)

    @router.post("/ingest/v1/events")
    async def events(request: Request) -> Response:
        require_media_type(request, EVENTS_MEDIA_TYPE)
        caller = identify(request)
        async with in_flight.body(request, limits.body_bytes) as body:
            try:
                accepted, steps = await anyio.to_thread.run_sync(accept, body, caller, limiter=decoding)
            except (FrameError, RequestRefused) as error:
                raise refusal(error) from error
            except Unavailable as error:
                raise not_now(limits.retry_after_s) from error
            del body  # the records have what it held; the log may take a while
            await append_or_refuse(log, EPISODES_TOPIC, accepted.records, limits.retry_after_s)
        size = sum(len(record.payload) for record in accepted.records)
        meter.accepted(len(accepted.records), steps, size)
        streams = {id_text(stream): last for stream, last in accepted.streams.items()}
        return json_answer({"accepted": len(accepted.records), "streams": streams, "linger_ms": linger_ms()})

    return router


def steps_of(accepted: Accepted) -> int:
    """The transitions of a request: its rows, without those that hold a final observation alone."""
    found = (checked.rows for checked in accepted.checked if checked.rows is not None)
    return sum(rows.batch.num_rows - sum(group.final for group in rows.groups) for rows in found)


def refusal(error: FrameError | RequestRefused) -> Refused:
    """The answer to a request that breaks the contract."""
    if isinstance(error, FrameError):
        return Refused(Problem("invalid_frame", error.reason, error.place))
    problem = error.problem
    if error.index is not None:
        members = problem.members | {"index": error.index}
        problem = Problem(problem.code, problem.detail, problem.place, problem.request_id, members)
    return Refused(problem)


def not_now(retry_after_s: int) -> Refused:
    """The answer when something that is needed does not answer, or cannot keep up."""
    detail = "The server cannot take this now; send it again."
    return Refused(Problem("unavailable", detail), retry_after_s=retry_after_s)


async def append_or_refuse(
    log: EventLog, topic: str, records: Sequence[NewRecord], retry_after_s: int
) -> int:
    """Append and give the last offset; see `positions_or_refuse`."""
    positions = await positions_or_refuse(log, topic, records, retry_after_s)
    return positions[-1].offset if positions else -1


async def positions_or_refuse(
    log: EventLog, topic: str, records: Sequence[NewRecord], retry_after_s: int
) -> list[Position]:
    """Append and give the positions.

    Raises:
        Refused: There is no space (507), or the log cannot keep up or does not answer (503).
    """
    try:
        return await log.append(topic, records)
    except LogFull as error:
        detail = "The server has no space for this; nothing was kept."
        raise Refused(Problem("storage_full", detail), retry_after_s=retry_after_s) from error
    except Unavailable as error:
        raise not_now(retry_after_s) from error
