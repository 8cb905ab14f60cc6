"""Log to store over real parts: what was appended is visible once, through failures, kills and a second generation."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from support.ingest_dump import dump
from support.ingest_engine import EngineParts, run
from support.ingest_streams import LAYOUT, StreamOfItems, new_record
from tupli_ingest.core.errors import StoreUnavailable
from tupli_ingest.core.ports import EpisodeKey, Row, Table
from tupli_ingest.processing.watched_store import WatchedStore
from tupli_schemas.events import EPISODES_TOPIC
from tupli_schemas.steps import Layout

TESTS = Path(__file__).parent.parent


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[EngineParts]:
    parts = EngineParts(tmp_path)
    yield parts
    parts.close()


def test_episodes_become_rows_and_headers(parts: EngineParts) -> None:
    events = StreamOfItems().episode(1, 50).episode(2, 30, end=False).events(cut=20)
    asyncio.run(parts.log.append(EPISODES_TOPIC, [new_record(event) for event in events]))
    run(parts.engine(1))
    rows = parts.client.column(
        "SELECT status || ' ' || toString(prefix) FROM tupli_g1.episodes FINAL ORDER BY episode"
    )
    assert rows == ["terminated 50", "open 30"]
    assert parts.client.column(f"SELECT count() FROM tupli_g1.{LAYOUT.table} FINAL") == ["81"]
    assert parts.log.checkpoint("g1", EPISODES_TOPIC) in (
        0,
        len(events),
    )  # written with the next group commit


class Unreliable(WatchedStore):
    """A store whose writes fail now and then, before or after they happened."""

    random = random.Random(1)

    def _maybe(self) -> None:
        if self.random.random() < 0.3:
            raise StoreUnavailable("now and then")

    def write_steps(self, layout: Layout, rows: pa.RecordBatch) -> None:
        self._maybe()
        super().write_steps(layout, rows)
        self._maybe()

    def write_rows(self, table: Table, rows: Sequence[Row]) -> None:
        self._maybe()
        super().write_rows(table, rows)
        self._maybe()

    def erase(self, episodes: Sequence[EpisodeKey]) -> None:
        self._maybe()
        super().erase(episodes)


def test_a_store_that_fails_now_and_then_loses_nothing(parts: EngineParts) -> None:
    events = StreamOfItems().episode(1, 50).episode(2, 30).events(cut=7)
    events = [*events[3:6], *events[:8], *events[2:]]
    asyncio.run(parts.log.append(EPISODES_TOPIC, [new_record(event) for event in events]))
    engine = parts.engine(1, store=Unreliable(parts.generations.open(1), lambda _keys: None), block_rows=10)
    for _ in range(1_000):
        try:
            run(engine)
            break
        except StoreUnavailable:
            continue
    run(parts.engine(2))
    assert dump(parts.client, "tupli_g1") == dump(parts.client, "tupli_g2")
    assert parts.client.column(f"SELECT count() FROM tupli_g1.{LAYOUT.table} FINAL") == ["82"]


def test_killed_again_and_again_a_rebuild_shows_the_same(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    for attempt in range(3):
        program = [sys.executable, "-m", "support.ingest_engine", str(tmp_path), str(1_000 * attempt + 1)]
        with subprocess.Popen(program, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(0.4 + 0.37 * attempt)
            os.kill(process.pid, signal.SIGKILL)
    parts = EngineParts(tmp_path)
    run(parts.engine(1))
    run(parts.engine(2))
    first, second = dump(parts.client, "tupli_g1"), dump(parts.client, "tupli_g2")
    parts.close()
    assert first == second
    assert len(first["episodes"]) >= 5
