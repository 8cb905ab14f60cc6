"""The worker process: a stream processor of the generation that serves, and of the one that is filled beside it.

A rebuild is written in the control row (`Plan.filling`), and every worker takes part: it joins the group of the
next generation while it goes on with the one that serves. When the next one has come close to the log's end, the
workers leave the old group, each by itself; when nobody is left in it, and the next generation has all that the old
one committed, it serves. Whoever dies on the way finds everything in the control row and the groups' offsets.
"""

import asyncio
import time
from typing import Final

import structlog

from tupli_ingest.adapters.clickhouse_client import ClickHouseConnection
from tupli_ingest.adapters.kafka_connection import KafkaConnection
from tupli_ingest.adapters.kafka_groups import group_of
from tupli_ingest.clock import now_ms
from tupli_ingest.core.errors import Unavailable
from tupli_ingest.core.plan import Plan
from tupli_ingest.grown.belonging import Belonging
from tupli_ingest.grown.gauges import watch_lanes
from tupli_ingest.grown.lane import Lane
from tupli_ingest.grown.means import REAL, Means
from tupli_ingest.grown.parts import POLL_SECONDS, WATCHER_STOP_SECONDS, ClusterParts
from tupli_ingest.observing import NOT_OBSERVED, Observed
from tupli_ingest.processing.readiness import WorkerLimits, worker_checks
from tupli_ingest.settings import IngestSettings

DROP_LOOK_SECONDS: Final = 10.0


class WorkerParts(ClusterParts):
    """The lanes of this process."""

    def __init__(
        self,
        settings: IngestSettings,
        kafka: KafkaConnection,
        clickhouse: ClickHouseConnection,
        observed: Observed = NOT_OBSERVED,
        *,
        means: Means = REAL,
    ) -> None:
        super().__init__(settings, kafka, clickhouse, observed, means=means)
        self.lanes: dict[int, Lane] = {}
        self._groups = means.groups(kafka)
        self._belonging = Belonging(
            self.generations, self._groups, self.lanes, retry_max_s=settings.retry_max_s
        )
        self._opened.callback(self._belonging.watcher.stop, WATCHER_STOP_SECONDS)
        self._close_to_the_end = 0
        """The generation that is filled and has come so far that the old one may be left."""
        self._looked_at = 0.0
        self._missing = ""
        self._log = structlog.get_logger("tupli_ingest.worker")
        watch_lanes(observed, self.lanes, lambda: self.watcher.plan)

    async def run(self, stop: asyncio.Event) -> str:
        """Work until `stop` is set or something ends it; what ended it, empty for `stop`."""
        self.watcher.start()
        self._belonging.watcher.start()
        stopped, works = asyncio.create_task(stop.wait()), asyncio.create_task(self._work(stop))
        try:
            await asyncio.wait({stopped, works}, return_when=asyncio.FIRST_COMPLETED)
            if works.done():
                return "" if stop.is_set() else works.result()
        finally:
            for task in (
                stopped,
                works,
            ):  # to join a group, or to ask a broker, may take longer than there is
                task.cancel()
            await asyncio.gather(stopped, works, return_exceptions=True)
            await self._stop()
        return ""

    def checks(self) -> dict[str, str]:
        """Names of readiness checks to what is wrong, an empty text for nothing; nobody is asked for it.

        They are about the generation that serves, or that will when it is the only one that is left to work on.
        """
        plan, settings = self.watcher.plan, self.settings
        lane = self.lanes.get(plan.serving) or self.lanes.get(plan.filling)
        return worker_checks(
            None if lane is None else lane.state(),
            self.watcher.problem,
            self.watcher.silent_s,
            WorkerLimits(settings.ready_lag_records, settings.ready_silence_s),
            waits_for=self._belonging.told(plan.serving) or self._missing,
        )

    async def _work(self, stop: asyncio.Event) -> str:
        """Work until something ends it: what that is."""
        # A lane that fails to stop takes the place of a cancellation that comes meanwhile: `stop` is looked at, too.
        while not stop.is_set():
            if why := await self._look_after(self.watcher.plan):
                return why
            await asyncio.sleep(POLL_SECONDS)
        return ""

    async def _look_after(self, plan: Plan) -> str:
        """Do what the plan asks for; what ends the process, empty for nothing. What is away is asked again."""
        try:
            await self._leave_what_was_lost()
            await self._follow(plan)
            if why := await self._end_what_failed(plan):
                return why
            await self._bring_over(plan)
            await self._drop_what_served(plan)
        except Unavailable as error:
            if self._missing != (missing := str(error)):
                self._log.warning("waiting", reason=missing)
            self._missing = missing
        else:
            self._missing = ""
        return ""

    async def _follow(self, plan: Plan) -> None:
        """Have the lanes that the plan wants, and no others."""
        if plan.filling != self._close_to_the_end:
            self._close_to_the_end = 0  # it serves by now, or was given up
        left = plan.filling and plan.filling == self._close_to_the_end
        wanted = {plan.filling} if left else {plan.serving, plan.filling} - {0}
        for generation in sorted(self.lanes.keys() - wanted):
            await self.lanes.pop(generation).stop()
            self._log.info("left", generation=generation)
        for generation in sorted(wanted - self.lanes.keys()):
            if await self._is_refused(generation, plan):
                continue
            lane = await asyncio.to_thread(Lane, self, generation)
            self.lanes[generation] = (
                lane  # before it is started: what is interrupted half-way is stopped as well
            )
            try:
                await lane.start()
            except Unavailable:
                del self.lanes[generation]
                await lane.stop()
                raise

    async def _leave_what_was_lost(self) -> None:
        """Stop filling what does not belong to the log any more; it is looked at anew then."""
        for generation, why in (await self._belonging.lost()).items():
            if lane := self.lanes.pop(generation, None):
                self._log.error("left", generation=generation, reason=why)
                await lane.stop()

    async def _is_refused(self, generation: int, plan: Plan) -> bool:
        """Whether a generation does not belong to the log. One that is only being filled is given up then."""
        before = self._belonging.told(generation)
        why = await self._belonging.refusal(generation)
        if why and why != before:
            self._log.error("the generation does not belong to the log", generation=generation, reason=why)
        if why and generation == plan.filling:
            await asyncio.to_thread(self.generations.fill, 0, why)
        return bool(why)

    async def _end_what_failed(self, plan: Plan) -> str:
        """What ends the process. A generation that is only being filled is given up instead."""
        for generation, lane in list(self.lanes.items()):
            why = lane.why_it_ends()
            if not why:
                continue
            if generation != plan.filling:
                return why
            self._log.error("the generation is not filled any more", generation=generation, reason=why)
            await asyncio.to_thread(self.generations.fill, 0, why)
            await self.lanes.pop(generation).stop()
        return ""

    async def _bring_over(self, plan: Plan) -> None:
        """Leave the serving generation when the next one is close behind it, and let that one serve."""
        lane = self.lanes.get(plan.filling)
        if lane is None:
            return
        filled = await self._groups.position(group_of(plan.filling))
        if filled.lag > self.settings.catchup_pause_records or not lane.projector.caught_up:
            return
        self._close_to_the_end = plan.filling
        if plan.serving in self.lanes:
            return
        before = await self._groups.position(group_of(plan.serving))
        if before.members or not filled.has_passed(before):
            return
        if await asyncio.to_thread(lambda: lane.projector.lag) <= 0:
            await asyncio.to_thread(self.generations.switch, plan.filling)
            self._log.info("switched", generation=plan.filling, before=plan.serving)

    async def _drop_what_served(self, plan: Plan) -> None:
        """Drop the generations before the serving one, when nobody can be reading them any more."""
        age_s = (now_ms() - plan.since_ms) / 1_000
        if plan.filling or age_s < self.settings.old_generation_grace_s:
            return
        if time.monotonic() - self._looked_at < DROP_LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        for generation in await asyncio.to_thread(self.generations.others):
            if generation < plan.serving:
                await asyncio.to_thread(self.generations.drop, generation)
                self._log.info("dropped", generation=generation)

    async def _stop(self) -> None:
        """Stop the lanes, all at once, and let go of everything, also where one of them fails to stop."""
        ended = await asyncio.gather(*(lane.stop() for lane in self.lanes.values()), return_exceptions=True)
        await asyncio.to_thread(self.close)
        for error in ended:
            if isinstance(error, BaseException):
                raise error
