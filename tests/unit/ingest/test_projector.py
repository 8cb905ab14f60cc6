"""The projector beside a log that is away for a moment: nothing is lost, nobody waits for a checkpoint."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from support.ingest_streams import BENCHMARK
from tupli_ingest.adapters.log_dead_letters import LogDeadLetters
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryLog, MemoryStore
from tupli_ingest.core.errors import LogUnavailable
from tupli_ingest.processing.dead_letter_limit import DeadLetterLimit
from tupli_ingest.processing.projector import Projector
from tupli_schemas.catalog import CreateBenchmark, Delete, encode_command
from tupli_schemas.events import CATALOG_TOPIC
from tupli_schemas.ids import LOCAL_SUBJECT
from tupli_schemas.records import Envelope, NewRecord

SPACES = {"observation_space": {"type": "Box"}, "action_space": {"type": "Discrete", "n": 2}}


class Log(MemoryLog):
    """Answers no call that stands in `away`."""

    def __init__(self) -> None:
        super().__init__()
        self.away: set[str] = set()

    def commit(self, group: str, topic: str, next_offset: int) -> None:
        self._answer("commit")
        super().commit(group, topic, next_offset)

    def wait(self, topic: str, offset: int, timeout: float) -> bool:
        self._answer("wait")
        return super().wait(topic, offset, min(timeout, 0.01))

    def end(self, topic: str) -> int:
        self._answer("end")
        return super().end(topic)

    def _answer(self, name: str) -> None:
        if name in self.away:
            raise LogUnavailable("the log does not answer")

    def say(self, *commands: CreateBenchmark | Delete) -> None:
        envelope = Envelope(event="c", version=1, subject=LOCAL_SUBJECT, received_at=1_000)
        news = [NewRecord(LOCAL_SUBJECT, envelope, encode_command(command)) for command in commands]
        self.append_now(CATALOG_TOPIC, news)


CREATE = CreateBenchmark(command_id="c1", benchmark=BENCHMARK, name="cartpole", descriptor=SPACES)
DELETE = Delete(command_id="c2", kind="benchmark", ids=(BENCHMARK,))


@contextmanager
def projecting(log: Log, store: MemoryStore) -> Iterator[Projector]:
    projector = Projector(log, log, MemoryDeadLetters(), store, 1, retry_max_s=0.01)
    projector.start()
    yield projector
    projector.stop(5)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.002)


@pytest.mark.parametrize("name", ["commit", "wait"])
def test_a_log_that_is_away_for_a_moment_ends_nothing(name: str) -> None:
    log, store = Log(), MemoryStore()
    log.away = {name}
    log.say(CREATE)
    with projecting(log, store) as projector:
        until(lambda: "the log does not answer" in projector.problem)
        log.away = set()
        until(lambda: log.checkpoint("catalog-g1", CATALOG_TOPIC) == 1)
        log.say(DELETE)
        until(lambda: log.checkpoint("catalog-g1", CATALOG_TOPIC) == 2)
        until(lambda: not projector.problem)
    assert len(store.rows("deletions")) == 1


def test_a_command_is_told_and_its_erasures_are_asked_for_once_though_no_checkpoint_is_kept() -> None:
    log, store = Log(), MemoryStore()
    log.away = {"commit"}
    erased: list[object] = []
    with projecting(log, store) as projector:
        projector.on_deleted = erased.extend
        log.say(CREATE, DELETE)
        projector.applied(1).result(10)
        until(lambda: projector.trouble)
        log.say(CREATE)
        projector.applied(2).result(10)
    assert len(store.rows("benchmarks")) == 1
    assert len(erased) == 1


def test_whether_it_has_caught_up_is_known_without_the_log() -> None:
    log = Log()
    log.away = {"end"}
    log.say(CREATE)
    projector = Projector(log, log, MemoryDeadLetters(), MemoryStore(), 1, retry_max_s=0.01)
    assert not projector.caught_up
    projector.start()
    until(lambda: projector.caught_up)
    projector.stop(5)


def test_the_checkpoint_of_another_generation_is_kept_with_the_next_round() -> None:
    log, store = Log(), MemoryStore()
    log.say(CREATE)
    with projecting(log, store) as projector:
        until(lambda: projector.caught_up)
        log.away = {"commit"}
        with projector.held():
            projector.use(MemoryStore(), 2)
        log.away = set()
        until(lambda: log.checkpoint("catalog-g2", CATALOG_TOPIC) == 1)


def test_bad_commands_far_apart_do_not_stop_it_and_many_in_a_row_do() -> None:
    log, store = Log(), MemoryStore()
    limit = DeadLetterLimit(ratio=0.2, window=100, run=5)
    letters = LogDeadLetters(log, limit=limit, now_ms=lambda: 0)
    bad = NewRecord(
        LOCAL_SUBJECT, Envelope(event="c", version=1, subject=LOCAL_SUBJECT, received_at=1), b"no"
    )
    projector = Projector(log, log, letters, store, 1, retry_max_s=0.01, limit=limit)
    projector.start()
    for _ in range(20):
        log.append_now(CATALOG_TOPIC, [bad])
        log.say(*(CREATE for _ in range(9)))
        projector.applied(log.end(CATALOG_TOPIC) - 1).result(10)
    assert len(letters.read()) == 20
    assert not projector.failure
    log.append_now(CATALOG_TOPIC, [bad] * 5)
    until(lambda: "in a row" in projector.failure)
    assert len(letters.read()) == 20
    projector.stop(5)
