"""Whether the service can serve: each part's own word, and one row inserted and read back."""

from collections.abc import Callable

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
