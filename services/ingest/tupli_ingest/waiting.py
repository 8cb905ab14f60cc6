"""A command waits for a part that is still starting, for a while, and says what it waits for."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from tupli_ingest.core.errors import Unavailable

T = TypeVar("T")
PAUSE_S: Final = 1.0


def once_answered(
    attempt: Callable[[], T],
    wait_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> T:
    """The answer of `attempt`, which may be repeated, as soon as what it needs is there.

    Args:
        attempt: What is tried, once at least.
        wait_s: After so many seconds it is not begun again.
        clock: Seconds.
        pause: Waits for so many seconds.

    Raises:
        Unavailable: That of the last attempt.
    """
    log, until, told = structlog.get_logger("tupli_ingest.waiting"), clock() + wait_s, ""
    while True:
        try:
            return attempt()
        except Unavailable as error:
            left = until - clock()
            if left <= 0:
                raise
            if told != (told := str(error)):
                log.warning("waiting", reason=told, at_most_s=round(left))
        pause(min(PAUSE_S, left))
