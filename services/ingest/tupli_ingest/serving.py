"""How the processes of the grown system serve HTTP, and how they are told to end."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any, Final

import structlog
import uvicorn

STOP_SECONDS: Final = 10
ASIDE_STOP_SECONDS: Final = 0.5
"""What a process serves aside of its work must not hold up its end."""


def stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM and Ctrl-C, on the running loop. Behind it, while the process finishes, they say nothing new.

    A handler of the loop's would end with the loop, and a second signal would end the process then as if it had failed.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def end(_signal: int, _frame: FrameType | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    return stop


async def serve(app: Any, host: str, port: int, end: asyncio.Event | None = None) -> int:
    """Serve an application until a signal or `end` ends it; the exit code, 2 when it could not begin.

    Raises:
        OSError: The address cannot be had.
    """
    listener = bound(host, port)  # before anything else begins: nothing would end what has begun
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=STOP_SECONDS,
            server_header=False,
        )
    )
    served, ended = (
        asyncio.create_task(server.serve(sockets=[listener])),
        asyncio.create_task((end or asyncio.Event()).wait()),
    )
    await asyncio.wait({served, ended}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    ended.cancel()
    await served
    return 0 if server.started else 2


class _Aside(uvicorn.Server):
    """A server that leaves the signals to the process that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bound(host: str, port: int) -> socket.socket:
    """A socket that has the address; port 0 is any free one.

    Raises:
        OSError: The address cannot be had.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


@asynccontextmanager
async def serving(app: Any, listener: socket.socket | None) -> AsyncIterator[None]:
    """Within, an application is served aside of the loop's other work; on no socket nothing is served.

    It answers from before the block until the block has ended.
    """
    if listener is None:
        yield
        return
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    server = _Aside(config)
    listener.listen()  # who connects before the server runs waits for it
    served = asyncio.create_task(server.serve(sockets=[listener]))
    host, port = listener.getsockname()[:2]
    structlog.get_logger("tupli_ingest.serving").info("serves", host=host, port=port)
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.wait({served}, timeout=ASIDE_STOP_SECONDS)
        served.cancel()
        await asyncio.gather(served, return_exceptions=True)
        listener.close()
