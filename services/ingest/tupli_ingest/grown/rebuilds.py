"""Rebuilds of the grown system, as a gateway asks for them and sees them: the workers do them, see `workers`."""

import asyncio
from typing import Any

from tupli_ingest.adapters.generations import Generations
from tupli_ingest.adapters.kafka_groups import KafkaGroups, group_of
from tupli_ingest.clock import now_ms
from tupli_ingest.core.plan import Plan


class ClusterRebuilds:
    """`Rebuilds` over the control row and the offsets of the groups. Every gateway says the same."""

    def __init__(self, generations: Generations, groups: KafkaGroups) -> None:
        self._generations = generations
        self._groups = groups

    def request(self) -> str:
        """The job that begins now, or the one that runs: it is named after its generation.

        Raises:
            Unavailable: The store does not answer.
        """
        plan = self._generations.plan()
        if not plan.filling:
            following = max([plan.serving, *self._generations.others()]) + 1
            while asyncio.run(self._groups.position(group_of(following))).done:
                following += 1  # a store that was lost had come so far
            self._generations.make(following)
            self._generations.fill(following)
            return str(following)
        return str(plan.filling)

    def progress(self) -> dict[str, Any]:
        """The last job: state (`idle, running, done, failed`), generation, offset, end, records a second.

        Raises:
            Unavailable: Store or brokers do not answer.
        """
        plan = self._generations.plan()
        if not plan.filling:
            return _over(plan)
        at = asyncio.run(self._groups.position(group_of(plan.filling)))
        seconds = max((now_ms() - plan.since_ms) / 1_000, 1e-9)
        return {
            "job": str(plan.filling),
            "state": "running",
            "reason": "",
            "generation": plan.filling,
            "offset": at.done,
            "end": sum(at.ends.values()),
            "rate": at.done / seconds,
        }


def _over(plan: Plan) -> dict[str, Any]:
    state = "failed" if plan.note else "done" if plan.serving > 1 else "idle"
    return {"job": str(plan.serving), "state": state, "reason": plan.note, "generation": plan.serving}
