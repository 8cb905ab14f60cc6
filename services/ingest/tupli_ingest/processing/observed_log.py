"""A log that tells how long it takes to keep records."""

import time
from collections.abc import Callable, Sequence

from tupli_ingest.core.meters import Meter
from tupli_ingest.core.ports import EventLog
from tupli_ingest.core.tracing import Attributes, Tracer
from tupli_schemas.records import NewRecord, Position


class ObservedLog:
    """`EventLog` around another one. Appends that fail are no latency: whoever asked is refused, and counted there."""

    def __init__(
        self, log: EventLog, meter: Meter, tracer: Tracer, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._log = log
        self._meter = meter
        self._tracer = tracer
        self._clock = clock

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """See `EventLog.append`."""
        facts: Attributes = {
            "messaging.destination.name": topic,
            "messaging.batch.message_count": len(records),
        }
        with self._tracer.span("append", facts):
            begun = self._clock()
            positions = await self._log.append(topic, records)
            self._meter.appended(topic, self._clock() - begun)
        return positions
