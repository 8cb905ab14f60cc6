"""What the parts of ingest count: a port, so that nothing here knows who keeps the figures.

Parts count once a request, a statement or a block, never once a row. What can be read whenever somebody asks (lag,
bytes in flight, open streams) is no part of this: the composition root hands out how it is read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

Reading = Iterable[tuple[tuple[str, ...], float]]
"""Values of a gauge by the values of its labels."""


@dataclass(frozen=True, slots=True)
class BlockFigures:
    """A block that is durable: its records, rows and bytes of events; seconds of folding and of the last write."""

    records: int
    rows: int
    bytes: int
    fold_s: float
    write_s: float


class Meter(Protocol):
    """Takes figures; used by many threads, never raises, never waits.

    Words that become labels (`code`, `topic`, `table`, `part`, `work`) come from small fixed sets of the program,
    never from what a caller sent.
    """

    def accepted(self, events: int, steps: int, size: int) -> None:
        """A request's events are durable: their number, their transitions, and their bytes."""
        ...

    def refused(self, code: str) -> None:
        """A request was answered with the problem of this code."""
        ...

    def appended(self, topic: str, seconds: float) -> None:
        """The log kept a request's records, so many seconds after it was asked to."""
        ...

    def wrote(self, table: str, seconds: float) -> None:
        """The store kept rows of a table; those of all step tables are `steps`."""
        ...

    def wrote_block(self, block: BlockFigures) -> None:
        """A block is durable."""
        ...

    def retried(self, part: str, work: str) -> None:
        """An attempt of a part at some work failed, and will be made again."""
        ...

    def kept_dead_letters(self, code: str, letters: int) -> None:
        """So many new dead letters of a code are kept."""
        ...


class NoMeter:
    """`Meter` that forgets."""

    def accepted(self, events: int, steps: int, size: int) -> None:
        """Nothing."""

    def refused(self, code: str) -> None:
        """Nothing."""

    def appended(self, topic: str, seconds: float) -> None:
        """Nothing."""

    def wrote(self, table: str, seconds: float) -> None:
        """Nothing."""

    def wrote_block(self, block: BlockFigures) -> None:
        """Nothing."""

    def retried(self, part: str, work: str) -> None:
        """Nothing."""

    def kept_dead_letters(self, code: str, letters: int) -> None:
        """Nothing."""


NO_METER: Final[Meter] = NoMeter()
