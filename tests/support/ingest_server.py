"""The ingest service as a program of its own, to be killed: `python -m support.ingest_server FOLDER PORT`."""

import signal
import sys
import threading
from pathlib import Path

import uvicorn

from tupli_ingest.app import build
from tupli_ingest.logs import configure_logging
from tupli_ingest.settings import IngestSettings


def main(folder: Path, port: int) -> None:
    """Serve until SIGTERM."""
    configure_logging(form="json", level="info")
    parts = build(IngestSettings(), data_dir=folder)
    parts.start()
    config = uvicorn.Config(
        parts.app, host="127.0.0.1", port=port, lifespan="off", ws="none", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: ended.set())
    thread.start()
    ended.wait()
    server.should_exit = True
    thread.join()
    parts.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
