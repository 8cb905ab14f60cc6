"""The gauges of a worker: read from memory, on the event loop that its lanes live on."""

from collections.abc import Callable, Mapping

from tupli_ingest.core.meters import Reading
from tupli_ingest.core.plan import Plan
from tupli_ingest.gauges import catalogue_lag
from tupli_ingest.grown.lane import Lane
from tupli_ingest.observing import Observed
from tupli_schemas.direct import place_of


def watch_lanes(observed: Observed, lanes: Mapping[int, Lane], plan: Callable[[], Plan]) -> None:
    """Show what is read of the lanes that there are when somebody asks."""

    def of_each(read: Callable[[Lane], float]) -> Callable[[], Reading]:
        return lambda: [((str(generation),), read(lane)) for generation, lane in lanes.items()]

    def lag() -> Reading:
        return [reading for generation, lane in lanes.items() for reading in _lags(generation, lane)]

    def assigned() -> Reading:
        known = ((generation, lane.engine.assignment()) for generation, lane in lanes.items())
        return [((str(generation),), len(lags)) for generation, lags in known if lags is not None]

    def remaining() -> Reading:
        filling = plan().filling
        return remaining_of(lanes.get(filling)) if filling else [((), 0)]

    observed.watch("tupli_lag_records", lag)
    observed.watch("tupli_assigned_partitions", assigned)
    observed.watch("tupli_open_streams", of_each(lambda lane: lane.open_streams))
    observed.watch("tupli_waiting_bytes", of_each(lambda lane: lane.writer.waiting_bytes))
    observed.watch("tupli_rebuild_remaining_records", remaining)


def remaining_of(lane: Lane | None) -> Reading:
    """What a generation that is being filled lacks in this process's partitions; nothing as long as that is not known.

    0 would read as done.
    """
    lags = None if lane is None else lane.engine.assignment()
    if lags is None:
        return []
    known = [lag for lag in lags.values() if lag is not None]
    return [((), sum(known))] if len(known) == len(lags) else []


def _lags(generation: int, lane: Lane) -> Reading:
    for stored, lag in (lane.engine.assignment() or {}).items():
        topic, partition = place_of(stored)
        if lag is not None:
            yield (topic, str(partition), str(generation)), lag
    yield from catalogue_lag(lane.projector, generation)
