"""Password hashes: Argon2id (RFC 9106), as many at once as memory allows."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tupli_auth.core.errors import Busy
from tupli_auth.core.passwords import MAX_LENGTH, normal

RETRY_AFTER_SECONDS: Final = 2


@dataclass(frozen=True, slots=True)
class HashingLimits:
    """Argon2id's cost, and how many hashes run at once and wait.

    The defaults are OWASP's second choice (Password Storage Cheat Sheet): 19 MiB and two passes on one lane.
    """

    memory_kib: int = 19_456
    passes: int = 2
    lanes: int = 1
    at_once: int = 4
    waiting: int = 64
    patience_s: float = 5.0


class Passwords:
    """Makes and verifies hashes. Used by any number of threads: more than the limits allow are told to come back."""

    def __init__(self, limits: HashingLimits) -> None:
        self._limits = limits
        self._hasher = PasswordHasher(
            time_cost=limits.passes, memory_cost=limits.memory_kib, parallelism=limits.lanes
        )
        self._running = threading.Semaphore(limits.at_once)
        self._room = threading.Semaphore(limits.at_once + limits.waiting)
        self._nobodys = self._hasher.hash("what is hashed where there is nobody")

    def hash(self, password: str) -> str:
        """The hash of a password, in the form of the reference implementation (`$argon2id$...`).

        Raises:
            Busy: Too many are under way.
        """
        with self._turn():
            return self._hasher.hash(normal(password))

    def is_right(self, password: str, kept: str | None) -> bool:
        """Whether a password is the one that was hashed; None takes as long as somebody's.

        Raises:
            Busy: Too many are under way.
        """
        given = normal(password)
        if len(given) > MAX_LENGTH:
            given, kept = "", None  # takes as long, and is nobody's
        with self._turn():
            try:
                self._hasher.verify(kept or self._nobodys, given)
            except (VerificationError, InvalidHashError):
                return False
        return kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Whether a hash was made with other costs than today's."""
        return self._hasher.check_needs_rehash(kept)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._room.acquire(blocking=False):
            raise Busy("too many logins at once", RETRY_AFTER_SECONDS)
        try:
            if not self._running.acquire(timeout=self._limits.patience_s):
                raise Busy("too many logins at once", RETRY_AFTER_SECONDS)
            try:
                yield
            finally:
                self._running.release()
        finally:
            self._room.release()
