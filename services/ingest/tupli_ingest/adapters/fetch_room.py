"""How many bytes are on their way from a broker to whoever takes records over."""

from collections import deque
from typing import Any


def size_of(record: Any) -> int:
    """Bytes that a record of aiokafka holds: whoever may write to a topic may put them into keys and headers as well."""
    headers = sum(len(name.encode()) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


class Room:
    """Counts the bytes of records that were fetched and that nobody has taken over, up to `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._given_back: deque[int] = deque()

    def take(self, record: Any) -> "Held":
        """A record that counts for as long as it is held."""
        size = size_of(record)
        self._held += size
        return Held(record, size, self._given_back)

    @property
    def held(self) -> int:
        """Bytes that are held now."""
        while self._given_back:
            self._held -= self._given_back.popleft()
        return self._held

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be fetched."""
        return self.held >= self._limit


class Held:
    """A record that gives its room back when nobody holds it any more.

    Faust drops messages in more places than it tells of; what it drops it holds no longer. The last hold may end in
    any thread, and in the midst of anything: no lock is taken for it.
    """

    __slots__ = ("_given_back", "record", "size")

    def __init__(self, record: Any, size: int, given_back: deque[int]) -> None:
        self.record, self.size, self._given_back = record, size, given_back

    def __del__(self) -> None:
        self._given_back.append(self.size)
