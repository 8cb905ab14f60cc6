"""What a delivery tells its stream, kept."""

from pathlib import Path
from typing import Any

from tupli.errors import TupliError
from tupli.spool.directory import SpoolDirectory
from tupli.spool.reader import Outgoing
from tupli_schemas.events import StepsRecorded


class Sink:
    """Keeps what it is told; steps alone may be refused."""

    def __init__(self, folder: Path | None = None) -> None:
        self.directory: Any = SpoolDirectory(folder) if folder else None
        self.refused: list[tuple[int, int]] = []
        """The first and last number of each record that was put aside."""
        self.acknowledged = 0

    def acknowledge(self, outgoing: Outgoing) -> None:
        self.acknowledged += 1

    def rejected(self, outgoing: Outgoing, error: TupliError) -> None:
        assert isinstance(outgoing.event, StepsRecorded), error
        self.refused.append((outgoing.event.first, outgoing.event.last))

    def benchmark_unknown(self, error: TupliError) -> None:
        raise AssertionError(error)
