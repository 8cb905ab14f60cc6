"""Who used the processor while something was measured: seconds of each process, and of all others together."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class Shares:
    """Seconds of processor time by process, over so many seconds of the clock.

    `busy` is what the whole machine used, others among it.
    """

    seconds: float
    by_process: Mapping[str, float]
    busy: float

    def also(self, name: str, cpu_seconds: float) -> "Shares":
        """With a process that counted for itself."""
        return replace(self, by_process={name: cpu_seconds, **self.by_process})

    @property
    def others(self) -> float:
        """Seconds that none of these processes used: the kernel's own, and who else was there."""
        return max(self.busy - sum(self.by_process.values()), 0.0)

    def per_million(self, name: str, steps: int) -> float:
        """Processor seconds of a process for a million steps."""
        return self.by_process[name] * 1e6 / steps

    def share(self, name: str) -> float:
        """Its part of what all of these used, in percent."""
        return 100 * self.by_process[name] / max(sum(self.by_process.values()), 1e-9)

    def in_cores(self) -> str:
        """How many cores each kept busy."""
        parts = [f"{name} {cpu / self.seconds:.2f}" for name, cpu in self.by_process.items()]
        return f"cores: {', '.join(parts)}, others {self.others / self.seconds:.2f} of {os.cpu_count()}"


class Meter:
    """Measures `shares` over a block."""

    shares: Shares

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}

    def _used(self) -> dict[str, float]:
        times = {name: process.cpu_times() for name, process in self._processes.items()}
        return {name: used.user + used.system for name, used in times.items()}

    def __enter__(self) -> Self:
        self._began, self._before, self._busy = time.monotonic(), self._used(), _busy()
        return self

    def __exit__(self, *_: object) -> None:
        after = self._used()
        used = {name: after[name] - before for name, before in self._before.items()}
        self.shares = Shares(time.monotonic() - self._began, used, _busy() - self._busy)


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
