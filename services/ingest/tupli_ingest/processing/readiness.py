"""Whether a process can serve: each part's own word, and whether what they need answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tupli_ingest.core.errors import Full, Unavailable
from tupli_ingest.core.ports import EpisodeStore
from tupli_ingest.processing.worker import Worker


class Readiness:
    """Checks by name. The probe is inserted once; later the workers tell when the store does not answer."""

    def __init__(
        self, log_writable: Callable[[], bool], store: EpisodeStore, workers: dict[str, Worker]
    ) -> None:
        self._log_writable = log_writable
        self._store = store
        self._workers = workers
        self._probed = False
        self.caught_up: Callable[[], bool] = lambda: True

    def checks(self) -> dict[str, str]:
        """Names of checks to what is wrong, an empty text for nothing."""
        found = {name: worker.problem for name, worker in self._workers.items()}
        found["log"] = "" if self._log_writable() else "no space, or the writer does not run"
        found["catalogue"] = self._read()
        found["store"] = self._probe()
        return found

    def _read(self) -> str:
        try:
            return "" if self.caught_up() else "is being read"
        except (Unavailable, Full) as error:
            return str(error)

    def _probe(self) -> str:
        if not self._probed:
            try:
                self._store.probe()
            except (Unavailable, Full) as error:
                return str(error)
            self._probed = True
        return ""


@dataclass(frozen=True, slots=True)
class LaneState:
    """What fills a generation, as it is known without asking anybody.

    Attributes:
        parts: What is wrong with each of its threads, an empty text for nothing.
        lags: Records that are not committed, by partition that this member of the group has; None where no broker
            has told yet. None for all before the group has answered.
        caught_up: Whether the catalogue was read to its end.
    """

    parts: Mapping[str, str]
    lags: Mapping[int, int | None] | None
    caught_up: bool


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """When a worker is not ready: with more records to do (None: never), with a store that is silent for longer."""

    lag_records: int | None
    silence_s: float


def worker_checks(
    lane: LaneState | None, store: str, silent_s: float, limits: WorkerLimits, *, waits_for: str = ""
) -> dict[str, str]:
    """Names of checks to what is wrong, an empty text for nothing.

    Nothing is asked here, so that there is an answer while the store or the log hang: `store` is what its watcher
    says is wrong, `silent_s` for how long the store has not answered, `waits_for` why there is no lane, as far as known.
    """
    silent = f"has not answered for {silent_s:.0f} s" if silent_s > limits.silence_s else ""
    found = {"store": store or silent}
    if lane is None:
        return found | {"group": ": ".join(filter(None, ("no generation is worked on yet", waits_for)))}
    found["group"] = "" if lane.lags is not None else "has not assigned partitions yet"
    found["lag"] = _judged_lag(lane.lags or {}, limits.lag_records)
    found["catalogue"] = "" if lane.caught_up else "is being read"
    return found | dict(lane.parts)


def _judged_lag(lags: Mapping[int, int | None], most: int | None) -> str:
    if most is None:
        return ""
    if None in lags.values():
        return "is not known yet"
    lag = sum(lag or 0 for lag in lags.values())
    return f"{lag} records, the limit is {most}" if lag > most else ""
