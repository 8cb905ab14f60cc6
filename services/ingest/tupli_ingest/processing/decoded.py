"""What the gateway decoded, handed to the processor, so that it is not done twice."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import xxhash

from tupli_ingest.core.decoding import Checked
from tupli_schemas.events import StepsRecorded

DECODED_BYTES: Final = 8 * 1024 * 1024
_EVENT_BYTES: Final = 1024
"""What an event takes besides its bytes."""
_COLUMN_BYTES: Final = 512
"""What each column of its rows takes."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """An event: the head's bytes, what it holds (its body among that), and about how much memory it takes."""

    head: bytes
    checked: Checked
    size: int

    def is_of(self, payload: bytes) -> bool:
        """Whether these are the event's bytes."""
        body = _body_of(self.checked)
        same_size = len(payload) == len(self.head) + len(body)
        return same_size and payload.startswith(self.head) and payload.endswith(body)


class Decoded:
    """What the gateway decoded and the processor will need, by the bytes of the event.

    Equal bytes mean the same for ever. The log has all of it: what is not kept is decoded once more. At most
    about `max_bytes` of memory are held, for the events that are needed first: those that come when it is
    full are not kept. It is full of what nobody will take when the log refused so much; therefore all is
    forgotten after `max_bytes` of events that were looked for in vain. `digest` names an event by its bytes.
    Used by many threads.
    """

    def __init__(
        self,
        max_bytes: int = DECODED_BYTES,
        digest: Callable[[bytes], bytes] = xxhash.xxh3_128_digest,
    ) -> None:
        self._max_bytes = max_bytes
        self._digest = digest
        self._kept: dict[bytes, _Kept] = {}
        self._bytes = 0
        self._missed = 0
        self._lock = threading.Lock()

    def keep(self, payload: bytes, checked: Checked) -> None:
        """Keep an event, if there is room."""
        name, size = self._digest(payload), _size(payload, checked)
        with self._lock:
            if name not in self._kept and self._bytes + size <= self._max_bytes:
                self._kept[name] = _Kept(_head_of(payload, checked), checked, size)
                self._bytes += size

    def take(self, payload: bytes) -> Checked | None:
        """An event, once.

        Those kept before it are forgotten: the log refused them, or has them in another order.
        """
        name = self._digest(payload)
        with self._lock:
            found = self._kept.get(name)
            if found is None or not found.is_of(payload):  # equal digests can be made, but not of equal bytes
                self._miss(len(payload))
                return None
            self._missed = 0
            oldest = b""
            while oldest != name:
                oldest = next(iter(self._kept))
                self._bytes -= self._kept.pop(oldest).size
            return found.checked

    def _miss(self, size: int) -> None:
        self._missed += size
        if self._missed > self._max_bytes:
            self._kept.clear()
            self._bytes = self._missed = 0


def _size(payload: bytes, checked: Checked) -> int:
    """About how much memory an event takes."""
    columns = 0 if checked.rows is None else checked.rows.batch.num_columns
    return len(payload) + _EVENT_BYTES + _COLUMN_BYTES * columns


def _head_of(payload: bytes, checked: Checked) -> bytes:
    """The event without its body, of which `checked` has a copy already."""
    return payload[: len(payload) - len(_body_of(checked))]


def _body_of(checked: Checked) -> bytes:
    return checked.event.body if isinstance(checked.event, StepsRecorded) else b""
