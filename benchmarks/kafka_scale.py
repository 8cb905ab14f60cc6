"""How much is measured: enough for figures, or just enough to see that all of it runs."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Scale:
    """Steps of each part, and seconds; `slow_streams` are those of one of the `slow_processes`."""

    recorded: int = 2_000_000
    drained: int = 4_000_000
    rebuilt: int = 5_000_000
    frames: int = 8_000
    held_seconds: int = 15
    paced_seconds: int = 30
    slow_processes: int = 4
    slow_streams: int = 250
    slow_seconds: int = 60
    settled_seconds: int = 20
    """After so long what memory grows is counted."""


WHOLE: Final = Scale()
SMALL: Final = Scale(
    recorded=100_000,
    drained=300_000,
    rebuilt=300_000,
    frames=500,
    held_seconds=3,
    paced_seconds=5,
    slow_streams=10,
    slow_seconds=8,
    settled_seconds=3,
)
