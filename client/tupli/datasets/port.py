"""The port between the client and a server's read side."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol


class QueryPort(Protocol):
    """Asks the query service. Asking again does no harm.

    Errors: `TransportError` (try again), `AuthError`, `NotFound`, `Conflict`, `InvalidInput`.
    """

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON answer to a JSON question (`/query/v1/episodes/list`)."""

    def stream(self, path: str, body: Mapping[str, Any]) -> AbstractContextManager[Iterator[bytes]]:
        """The bytes of a framed answer, as they come; the connection is closed on leaving the block."""
