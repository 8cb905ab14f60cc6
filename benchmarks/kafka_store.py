"""What the store shows of a recording: the oracle of the figures, and what has become visible when."""

import threading
import time
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tupli_ingest.adapters.clickhouse_client import ClickHouseClient
from tupli_schemas.tables import generation_database

WAIT_SECONDS: Final = 300.0


class WrongResult(Exception):
    """What the store shows is not what was sent: then no figure counts."""


class Store:
    """One generation, asked on connections of its own."""

    def __init__(self, client: ClickHouseClient, generation: int = 1) -> None:
        self._client = client
        self._database = generation_database(generation)

    def ask(self, sql: str) -> pa.Table:
        """A query's answer; `{db}` in it is the generation's database."""
        return self._client.table(sql.replace("{db}", self._database))

    def number(self, sql: str) -> int:
        """The one number that a query answers."""
        return int(self.ask(sql).column(0)[0].as_py() or 0)

    def steps_table(self) -> str:
        """The one step table; empty while there is none."""
        names = self._client.column(f"SELECT DISTINCT name FROM {self._database}.step_tables")
        return f"{self._database}.{names[0]}" if names else ""

    def written(self) -> int:
        """Rows in the step table, final ones and repetitions among them; costs the store next to nothing."""
        table = self.steps_table()
        return self.number(f"SELECT count() FROM {table}") if table else 0

    def check(self, *, steps: int, ended: int) -> None:
        """Every step that was sent is visible, once, and so many episodes have ended as they should.

        Raises:
            WrongResult: It is not so; the message has what was found, and what was expected.
        """
        table = self.steps_table()
        headers = "FROM {db}.episodes FINAL"
        shown = (
            f"SELECT count() FROM {table} AS s FINAL INNER JOIN (SELECT episode, prefix {headers}) AS e"
            " USING episode WHERE NOT s.is_final AND s.step < e.prefix"
        )
        found = {
            "visible steps": (self.number(shown) if table else 0, steps),
            "steps of headers": (self.number(f"SELECT sum(prefix) {headers}"), steps),
            "ended episodes": (self.number(f"SELECT countIf(ended) {headers}"), ended),
            "wrong episodes": (
                self.number(f"SELECT countIf(status IN ('incomplete', 'conflict')) {headers}"),
                0,
            ),
        }
        if wrong := {name: pair for name, pair in found.items() if pair[0] != pair[1]}:
            raise WrongResult(f"found and expected: {wrong}")


class Watch:
    """Asks again and again, every `period` seconds; `times` (Unix seconds, when the answer had come) and `answers`.

    An answer may be up to a period and a query old, so that a delay that is judged by it is too long, not too
    short.
    """

    def __init__(self, ask: Any, period: float) -> None:
        self._ask, self._period = ask, period
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None
        self.times: list[float] = []
        self.answers: list[Any] = []

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._look()
                self._stop.wait(self._period)
        except Exception as error:  # noqa: BLE001 -- the edge of the thread: raised where the block ends
            self._error = error

    def _look(self) -> None:
        answer = self._ask()
        self.times.append(time.time())
        self.answers.append(answer)

    def until(self, wanted: int, seconds: float = WAIT_SECONDS) -> float:
        """Wait for an answer of at least `wanted`; when it came (Unix seconds).

        Raises:
            WrongResult: It did not come in time.
        """
        end = time.monotonic() + seconds
        while not self.answers or self.answers[-1] < wanted:
            if time.monotonic() > end or self._error is not None:
                last = self.answers[-1] if self.answers else None
                raise WrongResult(f"{wanted} expected, {last} after {seconds:g} s ({self._error})")
            time.sleep(0.01)
        return self.times[next(at for at, answer in enumerate(self.answers) if answer >= wanted)]

    def rate(self, wanted: int, part: float = 0.1) -> float:
        """A second's growth from when `part` of `wanted` was there until all of it was.

        What was fetched and decoded before the watch began counts for nothing then.
        """
        first = next(at for at, answer in enumerate(self.answers) if answer >= part * wanted)
        last = next(at for at, answer in enumerate(self.answers) if answer >= wanted)
        grown, seconds = self.answers[last] - self.answers[first], self.times[last] - self.times[first]
        return float(grown / seconds) if seconds > 0 else float("inf")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._look()


def delays(watch: Watch, counts: Any, made: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Seconds from when things were made until an answer first counted them; they become visible in order.

    Args:
        counts: How many of them each answer of the watch has.
        made: When each was made, in Unix seconds, in order.

    Raises:
        WrongResult: The last answer has not all of them.
    """
    grown = np.maximum.accumulate(np.asarray(counts))
    first = np.searchsorted(grown, np.arange(1, len(made) + 1), side="left")
    if len(made) and int(first[-1]) >= len(watch.times):
        raise WrongResult(f"{int(grown[-1])} of {len(made)} became visible")
    seen: npt.NDArray[np.float64] = np.asarray(watch.times)[first] - made
    return seen
