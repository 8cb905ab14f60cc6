"""When to try again what failed: later and later, up to some seconds."""

import random
from dataclasses import dataclass
from typing import Final

FIRST_SECONDS: Final = 0.1
MAX_SECONDS: Final = 5.0


@dataclass
class Backoff:
    """What is remembered of a server or a stream that fails.

    Attributes:
        not_before: When to try again (monotonic seconds).
        failures: How many there were since it last worked.
        reason: Of the last one; empty while it works.
        told: What the user was told of it; empty when nothing.
    """

    not_before: float = 0.0
    failures: int = 0
    reason: str = ""
    told: str = ""

    def failed(self, now: float, reason: str) -> None:
        """It failed once more: wait longer."""
        self.failures += 1
        self.reason = reason
        pause = min(FIRST_SECONDS * 2 ** min(self.failures - 1, 10), MAX_SECONDS)
        self.not_before = now + pause * random.uniform(0.7, 1.0)  # noqa: S311 - spreads clients, keeps no secret

    def worked(self) -> None:
        """It works."""
        self.failures, self.reason, self.told = 0, "", ""


def reason_of(error: BaseException) -> str:
    """An error, as people read it in the middle of a sentence."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")
