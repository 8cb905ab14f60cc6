"""The tour over the grown system (`make demo-kafka`): a real broker, two workers, one of them killed on the way.

The broker is the one of the tests (from jars that Maven fetches, or `TUPLI_TEST_KAFKA`), and so is the store: the real
engine behind ClickHouse's HTTP interface. The tour and its checks are those of `demo.py`. At the end the store is held,
byte for byte, against what one process makes of the whole log.
"""

import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

import demo

from support.cluster import Cluster, Process, cluster

KILLED_AFTER_SECONDS = 3.0


def main() -> int:
    """Run the tour; 0 when every check held."""
    console = demo.console
    with tempfile.TemporaryDirectory(prefix="tupli-demo-") as name:
        folder = Path(name)
        console.print("starting a broker, a store, a gateway with the query service, and two workers")
        with cluster(folder, partitions=4) as grown:
            url = grown.server(module="tupli_standalone.front")
            workers = [grown.worker(), grown.worker()]
            os.environ |= {
                "TUPLI_URL": url,
                "TUPLI_SPOOL_DIR": str(folder / "spool"),
                "NO_PROXY": "127.0.0.1",
            }
            killer = threading.Timer(KILLED_AFTER_SECONDS, _kill_one, (grown, workers))
            killer.start()
            try:
                failed = demo.tour()
            finally:
                killer.join()
            grown.settled()
            shown = grown.assert_as_the_log_says()
            console.print(
                f"{len(shown['episodes'])} episodes are in the store as one process makes them of the log"
            )
            return failed


def _kill_one(grown: Cluster, workers: list[Process]) -> None:
    workers[0].end(signal.SIGKILL)
    demo.console.print("[red]a worker was killed with -9[/]; another one takes its place")
    workers[0] = grown.worker()


if __name__ == "__main__":
    sys.exit(main())
