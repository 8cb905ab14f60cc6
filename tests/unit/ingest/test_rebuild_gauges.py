"""What a rebuild still lacks: no figure before it is known, for 0 would read as done."""

from types import SimpleNamespace
from typing import Any

import pytest

from support.metrics import Figures
from tupli_ingest.core.plan import Plan
from tupli_ingest.gauges import EmbeddedEngines, watch_embedded
from tupli_ingest.grown.gauges import watch_lanes
from tupli_ingest.observing import observe
from tupli_ingest.settings import IngestSettings

NAME = "tupli_rebuild_remaining_records"


def lane(lags: dict[int, int | None] | None) -> Any:
    engine = SimpleNamespace(
        assignment=lambda: lags, lags=lambda: {place: lag or 0 for place, lag in (lags or {}).items()}
    )
    parts = {"projector": SimpleNamespace(behind=0), "writer": SimpleNamespace(waiting_bytes=0)}
    return SimpleNamespace(engine=engine, open_streams=0, **parts)


def of_a_worker(lanes: dict[int, Any], plan: Plan) -> list[float]:
    observed = observe(IngestSettings(), "tupli-worker")
    watch_lanes(observed, lanes, lambda: plan)
    assert observed.metrics is not None
    return Figures(observed.metrics.render("")[0].decode()).each(NAME)


@pytest.mark.parametrize(
    ("lags", "told"),
    [
        (None, []),  # its group has not answered
        ({0: 3, 1: None}, []),  # no broker has told where a partition ends
        ({0: 3, 1: 4}, [7]),
        ({0: 0}, [0]),
        ({}, [0]),  # more workers than partitions
    ],
)
def test_a_worker_tells_what_it_knows(lags: dict[int, int | None] | None, told: list[float]) -> None:
    assert of_a_worker({1: lane({0: 9}), 2: lane(lags)}, Plan(1, 2)) == told


def test_a_worker_that_has_not_begun_to_fill_tells_nothing() -> None:
    assert of_a_worker({1: lane({0: 9})}, Plan(1, 2)) == []


def test_without_a_rebuild_nothing_is_lacking() -> None:
    assert of_a_worker({1: lane({0: 9})}, Plan(1)) == [0]


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ({"state": "running", "offset": 0, "end": 0}, []),
        ({"state": "running", "offset": 4, "end": 9}, [5]),
        ({"state": "done", "offset": 9, "end": 9}, [0]),
        ({"state": "idle"}, [0]),
    ],
)
def test_one_process_tells_what_it_knows(job: dict[str, Any], told: list[float]) -> None:
    engine = SimpleNamespace(generation=1, lag=0)
    parts: Any = EmbeddedEngines(
        processor=SimpleNamespace(engine=engine),  # type: ignore[arg-type]  # as far as it is asked
        projector=SimpleNamespace(behind=0),  # type: ignore[arg-type]  # as above
        rebuilder=SimpleNamespace(progress=lambda: {"generation": 2} | job),  # type: ignore[arg-type]  # as above
        open_streams={1: SimpleNamespace(count=lambda: 0)},  # type: ignore[dict-item]  # as above
    )
    observed, log = observe(IngestSettings(), "tupli"), SimpleNamespace(queued_bytes=0)
    watch_embedded(observed, parts, log)  # type: ignore[arg-type]  # as above
    assert observed.metrics is not None
    assert Figures(observed.metrics.render("")[0].decode()).each(NAME) == told
