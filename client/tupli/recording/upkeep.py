"""What is done for a stream's segments beside delivering them: checksums, and unmapping those that wait."""

import threading
from collections import deque

from tupli.spool.checksums import Checksums
from tupli.spool.manifest import StreamState
from tupli.spool.segment import Segment


class Upkeep:
    """Of one stream's segments; the thread of checksums calls it, and whoever ends the stream.

    Args:
        segments: Those to be read, in order. releasable: Those that were read, each with the state behind it.

    Attributes:
        covering: Held while checksums are made, and by whoever removes a file.
        first: Held while the first segment becomes another one, and while one behind it is put away.
    """

    def __init__(self, segments: deque[Segment], releasable: deque[tuple[Segment, StreamState]]) -> None:
        self._segments = segments
        self._releasable = releasable
        self._checksums: dict[int, Checksums] = {}
        self.covering = threading.Lock()
        self.first = threading.Lock()

    def keep_checksums(self) -> None:
        """Cover what was published since the last time.

        Raises:
            OSError: There is no room for it.
        """
        with self.covering:
            segments = [*list(self._segments), *(segment for segment, _ in list(self._releasable))]
            for segment in segments:
                if not segment.is_away:  # else it was covered before
                    self._cover(segment)
            first = min((segment.number for segment in segments), default=0)
            self._checksums = {n: sums for n, sums in self._checksums.items() if n >= first}

    def put_away(self) -> None:
        """What waits to be sent need be neither in memory nor open meanwhile.

        Up to the first segment that is not closed: where the environment's thread was interrupted, it may write
        to those behind it once more.
        """
        waiting = list(self._segments)
        for segment in waiting[:-1]:
            if not segment.published()[2]:
                return
            if segment is not waiting[0] and not segment.is_away and segment.path.exists():
                with self.covering:
                    self._cover(segment)
                    self._put_away(segment)

    def leave_first(self) -> None:
        """The first segment is read; the next one is mapped.

        Raises:
            OSError: It cannot be; nothing is changed.
        """
        with self.first:
            if len(self._segments) > 1:
                self._segments[1].take_up()
            self._segments.popleft()

    def over(self) -> None:
        """The stream is delivered."""
        self._checksums.clear()

    def _cover(self, segment: Segment) -> None:
        if segment.path.exists():  # else it is delivered and gone: its checksums would be left behind
            if segment.number not in self._checksums:
                self._checksums[segment.number] = Checksums(segment)
            self._checksums[segment.number].update()

    def _put_away(self, segment: Segment) -> None:
        with self.first:
            if segment in list(self._segments)[1:]:  # else it is read by now
                segment.put_away()
                self._checksums.pop(segment.number, None)
