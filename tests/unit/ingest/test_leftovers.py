"""What workers that slept have left under `NO_BENCHMARK`: found, erased, and never a reason for another status."""

import time
from dataclasses import replace

from support.ingest_streams import BENCHMARK, OTHER_SUBJECT, STREAM, StreamOfItems, new_record
from tupli_ingest.adapters.memory import MemoryDeadLetters, MemoryLog, MemoryStore
from tupli_ingest.core.headers import EpisodeFacts
from tupli_ingest.core.leftovers import leftovers
from tupli_ingest.core.pipeline import Pipeline
from tupli_ingest.core.ports import NO_BENCHMARK, EpisodeKey
from tupli_ingest.processing.eraser import Eraser
from tupli_schemas.events import EPISODES_TOPIC, Event
from tupli_schemas.ids import LOCAL_SUBJECT, episode_id
from tupli_schemas.records import Record

ITEMS = StreamOfItems().episode(1, 4)
KEY = EpisodeKey(BENCHMARK, LOCAL_SUBJECT, episode_id(STREAM, 1), ITEMS.layout.text)
PARKED = replace(KEY, benchmark=NO_BENCHMARK)


def header(key: EpisodeKey, layout: str = "") -> EpisodeFacts:
    return EpisodeFacts(owner=key.owner, episode=key.episode, benchmark=key.benchmark, layout=layout)


def records_of(*events: Event) -> list[Record]:
    log = MemoryLog()
    log.append_now(EPISODES_TOPIC, [new_record(event) for event in events])
    return log.read(EPISODES_TOPIC, 0, max_bytes=2**30)


def test_only_what_stands_where_it_belongs_as_well_is_left_over() -> None:
    store = MemoryStore()
    store.write_rows("episodes", [header(PARKED).to_row()])
    assert leftovers(store) == []
    others = replace(KEY, owner=OTHER_SUBJECT)
    store.write_rows("episodes", [header(others, KEY.layout).to_row()])
    assert leftovers(store) == []
    store.write_rows("episodes", [header(KEY, KEY.layout).to_row()])
    assert leftovers(store) == [PARKED]  # with the layout that a marker does not know


def test_what_a_worker_that_slept_leaves_is_found_and_erased() -> None:
    store, letters = MemoryStore(), MemoryDeadLetters()
    rows, start, end = records_of(*ITEMS.events(2, 6), *ITEMS.events(1, 1), *ITEMS.events(7))
    slept = Pipeline(store, letters)
    slept.add([rows])
    other = Pipeline(store, letters)
    other.add([rows, start, end])
    other.flush()
    shown = store.rows("episodes"), store.steps()
    slept.flush()
    assert (store.rows("episodes"), store.steps()) != shown

    eraser = Eraser(store, 1, lambda _: False, retry_max_s=0, tidy_s=60)
    eraser.start()
    end_at = time.monotonic() + 10
    while leftovers(store) and time.monotonic() < end_at:
        eraser.wake()
    eraser.stop(5)
    assert (store.rows("episodes"), store.steps()) == shown


def test_without_others_nothing_is_looked_for() -> None:
    class Unasked(MemoryStore):
        def find_episodes(self, *, benchmark: bytes | None = None, ids: object = ()) -> list[EpisodeKey]:
            raise AssertionError("asked")

    eraser = Eraser(Unasked(), 1, lambda _: False, retry_max_s=0)
    eraser.round()
    assert eraser.problem == "does not run"


def test_a_repetition_is_compared_with_rows_that_another_worker_has_moved() -> None:
    store, letters = MemoryStore(), MemoryDeadLetters()
    rows, again, start, end = records_of(
        *ITEMS.events(2, 6), *ITEMS.events(3, 5), *ITEMS.events(1, 1), *ITEMS.events(7)
    )
    mine = Pipeline(store, letters)
    mine.add([rows])
    mine.flush()
    slept = Pipeline(store, letters)  # it had the partition before, and has seen the start in time
    slept.add([rows, again, start])
    slept.flush()
    mine.add([again])
    mine.flush()
    assert {row["conflict"] for row in store.rows("episodes")} == {0}
    mine.add([start, end])
    mine.flush()
    assert [(row["benchmark"], row["status"]) for row in store.rows("episodes")] == [
        (BENCHMARK, "terminated")
    ]
