"""What the gateway decoded, handed to the processor, so that it is not done twice."""

import threading
from collections.abc import Callable
from typing import Final

import xxhash

from tupli_ingest.core.decoding import Checked

DECODED_BYTES: Final = 8 * 1024 * 1024


class Decoded:
    """What the gateway decoded and the processor will need: by the bytes of the event, which mean the same for ever.

    The log has all of it: what is not kept is decoded once more. At most `max_bytes` of events are kept, those that are
    needed first. `digest` names an event by its bytes. Used by many threads.
    """

    def __init__(
        self,
        max_bytes: int = DECODED_BYTES,
        digest: Callable[[bytes], bytes] = xxhash.xxh3_128_digest,
    ) -> None:
        self._max_bytes = max_bytes
        self._digest = digest
        self._kept: dict[bytes, tuple[bytes, Checked]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def keep(self, payload: bytes, checked: Checked) -> None:
        """Keep an event, if there is room."""
        name = self._digest(payload)
        with self._lock:
            if name not in self._kept and self._bytes + len(payload) <= self._max_bytes:
                self._kept[name] = (payload, checked)
                self._bytes += len(payload)

    def take(self, payload: bytes) -> Checked | None:
        """An event, once. Those kept before it are forgotten: the log refused them, or has them in another order."""
        name = self._digest(payload)
        with self._lock:
            kept, found = self._kept.get(name, (b"", None))
            if found is None or kept != payload:  # equal digests can be made, but not of equal bytes
                return None
            oldest = b""
            while oldest != name:
                oldest = next(iter(self._kept))
                self._bytes -= len(self._kept.pop(oldest)[0])
            return found
