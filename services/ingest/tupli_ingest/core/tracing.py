"""What the parts of ingest tell about the course of a request or a block: a port, and the one that tells nothing.

A place in a trace is written as `traceparent` (W3C Trace Context): `00-<trace id>-<span id>-<flags>`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Protocol

TRACEPARENT: Final = "traceparent"
"""The name of the header, of HTTP requests and of log records."""
MAX_LINKS: Final = 32
"""So many places a span links to at most: a block may hold records of thousands of requests."""
Attributes = Mapping[str, str | int | float]


class Span(Protocol):
    """Something that takes time, while it lasts."""

    def set(self, attributes: Attributes) -> None:
        """Say more of it."""
        ...

    def rename(self, name: str) -> None:
        """Call it by another name, when that is known only later."""
        ...


class Tracer(Protocol):
    """Makes spans; one that is opened within another, in one thread or task, is its child."""

    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        parent: str | None = None,
        links: Sequence[str] = (),
    ) -> AbstractContextManager[Span]:
        """A span for the length of a block; an error that leaves the block is noted, and goes on.

        `parent` is a `traceparent` from outside (empty, or not well formed: a new trace begins), for what serves
        a request; `links` are `traceparent`s of what led to this, of which the first `MAX_LINKS` count.
        """
        ...

    def traceparent(self) -> str:
        """The place of the span that is open here, empty for none."""
        ...


class _Nothing:
    """Both a block and the span of it."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing."""

    def set(self, attributes: Attributes) -> None:
        """Nothing."""

    def rename(self, name: str) -> None:
        """Nothing."""


_NOTHING: Final = _Nothing()


class NoTracer:
    """`Tracer` that tells nobody."""

    def span(
        self,
        name: str,  # noqa: ARG002 -- the port's signature
        attributes: Attributes | None = None,  # noqa: ARG002 -- the port's signature
        *,
        parent: str | None = None,  # noqa: ARG002 -- the port's signature
        links: Sequence[str] = (),  # noqa: ARG002 -- the port's signature
    ) -> AbstractContextManager[Span]:
        """The same one, always."""
        return _NOTHING

    def traceparent(self) -> str:
        """Nowhere."""
        return ""


NO_TRACER: Final[Tracer] = NoTracer()
