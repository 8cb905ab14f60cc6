"""The port between the client and a server's read side."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Readable(Protocol):
    """A body that is read into the memory where it is wanted."""

    def readinto(self, target: memoryview) -> int:
        """Fill `target`; how many bytes came, fewer only at the end of the body."""


class QueryPort(Protocol):
    """Asks the query service. Asking again does no harm.

    Errors: `TransportError` (try again), `AuthError`, `NotFound`, `Conflict`, `InvalidInput`.
    """

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON answer to a JSON question (`/query/v1/episodes/list`)."""

    def stream(
        self, path: str, body: Mapping[str, Any]
    ) -> AbstractContextManager[Iterator[bytes] | Readable]:
        """The bytes of a framed answer, as they come or as they are wanted; the connection is closed on leaving the block."""
