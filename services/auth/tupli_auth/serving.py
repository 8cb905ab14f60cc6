"""How the process serves, and ends."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn

STOP_SECONDS = 10


class _Server(uvicorn.Server):
    """Ends by a signal as by itself: uvicorn would raise the signal again, and the process end as if it had failed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(app: Any, host: str, port: int) -> int:
    """Serve an application until a signal ends it; the exit code, 2 when it could not begin."""
    config = uvicorn.Config(
        app,
        host,
        port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = _Server(config)
    structlog.get_logger("tupli_auth.serving").info("serves", host=host, port=port)
    server.run()
    return 0 if server.started else 2
