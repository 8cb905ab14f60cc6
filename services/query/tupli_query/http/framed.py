"""The framed streaming answer: frames made on a thread, sent as fast as the caller reads.

While frames are on their way the thread already makes the next ones. A caller that reads nothing for a while,
or goes away, ends the stream; it continues with its cursor.
"""

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import Executor

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tupli_query.core.stream import Parts

LOGGER = logging.getLogger(__name__)

MEDIA_TYPE = "application/vnd.tupli.dataset"


class FramedResponse(Response):
    """Streams what `frames` yields.

    Args:
        frames: Lists of byte strings. Advanced and closed on a thread of `threads`, one call at a time.
        threads: Where frames are made.
        idle_seconds: How long the caller may read nothing.
    """

    media_type = MEDIA_TYPE

    def __init__(self, frames: Iterator[Parts], threads: Executor, *, idle_seconds: float) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._frames = frames
        self._threads = threads
        self._idle = idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI
        """Send the answer (ASGI)."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        gone = asyncio.ensure_future(_disconnected(receive))
        coming = self._make()
        try:
            while (parts := await coming) is not None and not gone.done():
                coming = self._make()
                async with asyncio.timeout(self._idle):
                    for part in parts:
                        await send({"type": "http.response.body", "body": part, "more_body": True})
            if not gone.done():
                await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            # The answer stays without its closing frame, and the server cuts the connection.
            LOGGER.info("a dataset stream was closed: nothing was read for %s s", self._idle)
            raise StreamIdle from None
        finally:
            gone.cancel()
            await self._finish(coming)

    def _make(self) -> "asyncio.Future[Parts | None]":
        return asyncio.get_running_loop().run_in_executor(self._threads, next, self._frames, None)

    async def _finish(self, coming: "asyncio.Future[Parts | None]") -> None:
        """Wait for the thread, then close the generator there: it holds a session of the store."""
        await asyncio.shield(asyncio.gather(coming, return_exceptions=True))
        close = getattr(self._frames, "close", None)
        if close is not None:
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._threads, close))


class StreamIdle(Exception):
    """The caller read nothing for too long; the connection is cut."""


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
