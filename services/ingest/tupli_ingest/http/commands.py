"""`/ingest/v1/commands`: catalogue commands, answered with their verdict once it can be read."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from fastapi import APIRouter, Request, Response

from tupli_ingest.core.catalog import Verdict
from tupli_ingest.core.errors import RequestRefused
from tupli_ingest.core.ports import EventLog
from tupli_ingest.http.bodies import InFlight, require_media_type
from tupli_ingest.http.events import append_or_refuse, refusal
from tupli_ingest.http.identity import Caller, Identify
from tupli_ingest.http.problem_answers import Refused, json_answer
from tupli_schemas.events import CATALOG_TOPIC
from tupli_schemas.problems import Problem
from tupli_schemas.records import NewRecord


class Verdicts(Protocol):
    """What became of commands."""

    def applied(self, offset: int) -> "Future[None]":
        """Done when the command at this offset can be read by its caller."""
        ...

    def verdict(self, subject: bytes, command_id: str) -> Verdict | None:
        """What became of a command, if it is applied."""
        ...


ReadCommand = Callable[[bytes, Caller], tuple[str, NewRecord]]
"""The id of a command and its record; raises `RequestRefused`."""


@dataclass(frozen=True, slots=True)
class CommandLimits:
    """Bytes of a command, seconds until 202, and seconds to try again after."""

    body_bytes: int
    timeout_s: float
    retry_after_s: int


def commands_router(
    log: EventLog,
    verdicts: Verdicts,
    read: ReadCommand,
    *,
    identify: Identify,
    in_flight: InFlight,
    limits: CommandLimits,
) -> APIRouter:
    """The routes that take commands and tell verdicts."""
    router = APIRouter()

    @router.post("/ingest/v1/commands")
    async def command(request: Request) -> Response:
        require_media_type(request, "application/json")
        caller = identify(request)
        async with in_flight.body(request, limits.body_bytes) as body:
            try:
                command_id, record = read(body, caller)
            except RequestRefused as error:
                raise refusal(error) from error
            offset = await append_or_refuse(log, CATALOG_TOPIC, [record], limits.retry_after_s)
        try:
            await asyncio.wait_for(asyncio.wrap_future(verdicts.applied(offset)), limits.timeout_s)
        except TimeoutError:
            return json_answer({"command_id": command_id}, status=202)
        return _answer(verdicts, caller, command_id)

    @router.get("/ingest/v1/commands/{command_id}")
    async def verdict(request: Request, command_id: str) -> Response:
        return _answer(verdicts, identify(request), command_id)

    return router


def _answer(verdicts: Verdicts, caller: Caller, command_id: str) -> Response:
    verdict = verdicts.verdict(caller.subject, command_id)
    if verdict is None:
        raise Refused(Problem("not_found", "No command of this id has been applied.", "command_id"))
    if verdict.status != "done":
        code = "invalid_request" if verdict.status == "invalid" else verdict.status
        raise Refused(Problem(code, verdict.detail, verdict.place, members={"command_id": command_id}))
    return json_answer({"command_id": command_id, "verdict": "done", "result": verdict.result})
