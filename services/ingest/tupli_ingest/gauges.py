"""The gauges of the catalogue, and of one process with everything in it: how they are read whenever somebody asks."""

from collections.abc import Mapping
from dataclasses import dataclass

from tupli_ingest.adapters.sqlite_log import SqliteLog
from tupli_ingest.core.meters import Reading
from tupli_ingest.core.plan import Plan
from tupli_ingest.observing import Observed
from tupli_ingest.processing.open_streams import OpenStreams
from tupli_ingest.processing.processor import Processor
from tupli_ingest.processing.projector import Projector
from tupli_ingest.processing.rebuilder import Rebuilder
from tupli_schemas.events import CATALOG_TOPIC, EPISODES_TOPIC


@dataclass(frozen=True, slots=True)
class EmbeddedEngines:
    """What one process works with; `open_streams` of each generation that it has opened."""

    processor: Processor
    projector: Projector
    rebuilder: Rebuilder
    open_streams: Mapping[int, OpenStreams]


def watch_embedded(observed: Observed, parts: EmbeddedEngines, log: SqliteLog) -> None:
    """Show what is read of one process."""

    def generation() -> int:
        return parts.processor.engine.generation

    def lag() -> Reading:
        yield (EPISODES_TOPIC, "0", str(generation())), parts.processor.engine.lag
        yield from catalogue_lag(parts.projector, generation())

    def open_streams() -> Reading:
        return [((str(generation()),), parts.open_streams[generation()].count())]

    def plan() -> Plan:
        job = parts.rebuilder.progress()
        filling = job["generation"] if job["state"] == "running" else 0
        return Plan(generation(), filling, job.get("reason", ""))

    def remaining() -> Reading:
        job = parts.rebuilder.progress()
        if job["state"] != "running":
            return [((), 0)]
        return [((), max(job["end"] - job["offset"], 0))] if job["end"] else []  # 0 would read as done

    observed.watch("tupli_lag_records", lag)
    observed.watch("tupli_open_streams", open_streams)
    observed.watch_plan(plan)
    observed.watch("tupli_rebuild_remaining_records", remaining)
    observed.watch_number("tupli_log_in_flight_bytes", lambda: log.queued_bytes)


def catalogue_lag(projector: Projector, generation: int) -> Reading:
    """The catalogue's part of `tupli_lag_records`, as far as the projector has read."""
    return [((CATALOG_TOPIC, "0", str(generation)), projector.behind)]
