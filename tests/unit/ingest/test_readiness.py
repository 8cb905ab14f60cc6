"""Readiness beside parts that are away: an answer with its checks, never an error of its own."""

import asyncio

import httpx
import pytest
from fastapi import APIRouter

from tupli_ingest.adapters.memory import MemoryStore
from tupli_ingest.app import framed_app
from tupli_ingest.core.errors import LogUnavailable, StoreUnavailable
from tupli_ingest.core.plan import Plan
from tupli_ingest.processing.plan_watcher import PlanWatcher
from tupli_ingest.processing.readiness import LaneState, Readiness, WorkerLimits, worker_checks


def test_a_log_that_does_not_answer_makes_it_not_ready_and_nothing_else() -> None:
    readiness = Readiness(lambda: True, MemoryStore(), {})

    def caught_up() -> bool:
        raise LogUnavailable("the log does not answer")

    readiness.caught_up = caught_up

    async def checks() -> dict[str, str]:
        return readiness.checks()

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(framed_app(APIRouter(), checks))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            return await http.get("/readyz")

    answer = asyncio.run(ask())
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["checks"] == {"log": "", "catalogue": "the log does not answer", "store": ""}


LIMITS = WorkerLimits(lag_records=100, silence_s=10)
READY = LaneState({"writer": "", "projector": ""}, {0: 3, 1: 4}, caught_up=True)


def wrong(lane: LaneState | None = READY, store: str = "", silent_s: float = 1.0) -> dict[str, str]:
    found = worker_checks(lane, store, silent_s, LIMITS)
    return {name: reason for name, reason in found.items() if reason}


def test_a_worker_that_has_its_partitions_and_keeps_up_is_ready() -> None:
    assert wrong() == {}
    assert wrong(LaneState({}, {}, caught_up=True)) == {}  # there may be more workers than partitions


@pytest.mark.parametrize(
    ("lane", "name"),
    [
        (None, "group"),
        (LaneState({}, None, caught_up=True), "group"),
        (LaneState({}, {0: None}, caught_up=True), "lag"),
        (LaneState({}, {0: 60, 1: 41}, caught_up=True), "lag"),
        (LaneState({}, {}, caught_up=False), "catalogue"),
        (LaneState({"writer": "writing a block: away", "eraser": ""}, {}, caught_up=True), "writer"),
    ],
)
def test_a_worker_is_not_ready_while(lane: LaneState | None, name: str) -> None:
    assert list(wrong(lane)) == [name]


def test_a_worker_is_not_ready_while_its_store_refuses_or_is_silent() -> None:
    assert wrong(store="working: away") == {"store": "working: away"}
    assert wrong(silent_s=10.5) == {"store": "has not answered for 10 s"}


def test_a_worker_without_a_generation_says_what_it_waits_for() -> None:
    assert worker_checks(None, "", 0, LIMITS)["group"] == "no generation is worked on yet"
    told = worker_checks(None, "", 0, LIMITS, waits_for="no topic")["group"]
    assert told == "no generation is worked on yet: no topic"


def test_a_lag_counts_only_where_a_limit_is_set() -> None:
    behind = LaneState({}, {0: None, 1: 10**9}, caught_up=True)
    assert not any(worker_checks(behind, "", 0, WorkerLimits(None, 10)).values())


def test_the_watcher_knows_for_how_long_the_store_is_silent() -> None:
    now, answers = [0.0], [Plan(1), Plan(1)]

    def read() -> Plan:
        if not answers:
            raise StoreUnavailable("away")
        return answers.pop()

    watcher = PlanWatcher(read, retry_max_s=1, every_s=0, clock=lambda: now[0])
    now[0] = 7
    assert watcher.silent_s == 7
    watcher.round()
    now[0] = 9
    assert watcher.silent_s == 2
    with pytest.raises(StoreUnavailable):
        watcher.round()
    assert watcher.silent_s == 2
