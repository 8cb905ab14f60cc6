"""Delivery of whole episodes: one after the other in shared requests, and the wait until they can be read."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from tupli.errors import AuthError, Conflict, InvalidInput, NotFound, TransportError, TupliError
from tupli.models import EpisodeHeader
from tupli.transport.base import Transport

SEND_ATTEMPTS: Final = 6
VISIBLE_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
REQUEST_BYTES: Final = 1 << 20
REQUEST_EPISODES: Final = 500
"""What is collected before it is sent; an episode that is larger goes alone."""
ASKED_IDS: Final = 200
"""Ids of one question."""

_KEPT: Final = (AuthError, Conflict, InvalidInput, NotFound)
_Made = TypeVar("_Made")


def send(transport: Transport, body: bytes) -> None:
    """Deliver framed events; again and again, some seconds apart or as many as the server asks for (60 at most).

    Raises:
        TransportError: The server cannot be reached. InvalidInput, NotFound, Conflict, AuthError: It refuses them.
    """
    for attempt in range(SEND_ATTEMPTS):
        try:
            transport.send_events(body)
        except TransportError as error:
            if attempt + 1 == SEND_ATTEMPTS:
                raise
            time.sleep(error.pause or 0.1 * 2**attempt)
        else:
            return


def visible(
    ids: Sequence[str], ask: Callable[[Sequence[str]], Iterator[EpisodeHeader]]
) -> list[EpisodeHeader]:
    """The headers of these episodes, in this order, once all of them can be read.

    Args:
        ids: The episodes, which were accepted.
        ask: Gives the headers of those that can be read, of at most `ASKED_IDS`.

    Raises:
        TransportError: Half a minute long no further one was visible.
    """
    found: dict[str, EpisodeHeader] = {}
    missing = list(ids)
    deadline = time.monotonic() + VISIBLE_SECONDS
    while missing:
        before = len(missing)
        for header in ask(missing[:ASKED_IDS]):
            found[header.id] = header
        missing = [one for one in missing if one not in found]
        if len(missing) < before:
            deadline = time.monotonic() + VISIBLE_SECONDS
        elif time.monotonic() > deadline:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise TransportError(f"episode {missing[0]}{more} was accepted and is not visible yet")
        else:
            time.sleep(POLL_SECONDS)
    return [found[one] for one in ids]


class Delivery:
    """Sends the requests of many episodes in their order, small ones together.

    What cannot be sent raises an error of the same kind that names the episode by its index: what is before that is
    recorded, nothing behind it is.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._waiting: list[tuple[int, bytes]] = []
        self._size = 0

    def add(self, index: int, body: bytes) -> None:
        """The next request of an episode."""
        full = self._size + len(body) > REQUEST_BYTES or len(self._waiting) >= REQUEST_EPISODES
        if self._waiting and full:
            self.flush()
        self._waiting.append((index, body))
        self._size += len(body)

    def flush(self) -> None:
        """Send what waits.

        Raises:
            TransportError: The server cannot be reached. InvalidInput, NotFound, Conflict, AuthError: It refuses one.
        """
        waiting, self._waiting, self._size = self._waiting, [], 0
        if waiting:
            self._send(waiting)

    def flush_after(self, error: Exception) -> None:
        """Send what waits, after an error that matters more than what this may meet: of that it gets a note."""
        try:
            self.flush()
        except TupliError as second:
            error.add_note(f"and what came before could not be recorded: {second}")

    def prepared(self, index: int, make: Callable[[], _Made]) -> _Made:
        """What `make` makes for an episode; its error names the episode, and what waits is sent before."""
        try:
            return make()
        except TupliError as error:
            self.flush()
            raise at_index(index, error, _none_from(index)) from error

    def _send(self, waiting: list[tuple[int, bytes]]) -> None:
        first, last = waiting[0][0], waiting[-1][0]
        try:
            send(self._transport, b"".join(body for _, body in waiting))
        except TransportError as error:
            these = "it" if first == last else f"it and those up to episodes[{last}]"
            told = f"{_before(first)}, whether {these} came through is not known, none behind is"
            raise at_index(first, error, told) from error
        except TupliError as error:
            if len(waiting) == 1:
                raise at_index(first, error, _none_from(first)) from error
            for one in waiting:  # a refused request leaves nothing behind
                self._send([one])


def _none_from(index: int) -> str:
    return f"{_before(index)}, this one and those behind it are not"


def _before(index: int) -> str:
    return {0: "none is accepted before it", 1: "episodes[0] is accepted"}.get(
        index, f"episodes[0] to episodes[{index - 1}] are accepted"
    )


def at_index(index: int, error: TupliError, told: str) -> TupliError:
    """An error of the same kind at this episode, with what became of the others."""
    place = f"episodes[{index}]" + (f".{error.place}" if error.place else "")
    reason = f"{str(error).removeprefix(f'{error.place}: ')}; {told}"
    if isinstance(error, TransportError):
        return TransportError(f"{place}: {reason}", problem=error.problem, retry_after=error.retry_after)
    kind = next((kind for kind in _KEPT if isinstance(error, kind)), InvalidInput)
    return kind(reason, place=place, problem=error.problem)
