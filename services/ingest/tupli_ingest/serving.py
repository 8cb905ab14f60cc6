"""How the processes of the grown system serve HTTP, and how they are told to end."""

import asyncio
import signal
from typing import Any, Final

import uvicorn

STOP_SECONDS: Final = 10


def stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM and Ctrl-C, on the running loop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def serve(app: Any, host: str, port: int) -> int:
    """Serve an application until a signal ends it; the exit code, 2 when it could not begin."""
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
    await server.serve()
    return 0 if server.started else 2
