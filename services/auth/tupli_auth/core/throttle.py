"""How long to wait after failed logins: longer each time, and never for good (OWASP Authentication Cheat Sheet).

Nobody is locked out by somebody else: a name waits at the address where it failed, and an address for all names.
"""

from collections.abc import Mapping
from typing import Final

FREE_OF_NAME: Final = 5
FREE_OF_ADDRESS: Final = 50
LONGEST_S: Final = 300


def sources(folded_name: str, address: str) -> tuple[str, str]:
    """What failures are counted by: the name at the address, and the address."""
    return f"{folded_name} {address}", f" {address}"


def wait_s(failures: Mapping[str, tuple[int, int]], now_ms: int) -> int:
    """Whole seconds until another try is taken; 0 for now. `failures` are numbers and times of the last, by source."""
    return max((_wait(source, *found, now_ms) for source, found in failures.items()), default=0)


def _wait(source: str, count: int, last_at: int, now_ms: int) -> int:
    free = FREE_OF_ADDRESS if source.startswith(" ") else FREE_OF_NAME
    if count < free:
        return 0
    delay_ms: int = 1_000 * min(2 ** min(count - free, 20), LONGEST_S)
    return max(-(-(last_at + delay_ms - now_ms) // 1_000), 0)
