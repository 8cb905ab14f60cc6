"""Where nobody asks for traces, a process does not even import what makes them."""

import subprocess
import sys

PROGRAM = """
import sys
import tupli_ingest.__main__, tupli_standalone.app, tupli_standalone.front
from tupli_ingest.observing import observe
from tupli_ingest.settings import IngestSettings
observed = observe(IngestSettings(traces={traces}), "tupli-test")
with observed.tracer.span("any"):
    pass
observed.close()
print(*sorted(name for name in sys.modules if name.startswith("opentelemetry.sdk")))
"""


def imported(*, traces: bool) -> list[str]:
    """What a process imports of OpenTelemetry's SDK."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(traces=traces)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_traces_that_are_off_import_nothing() -> None:
    assert imported(traces=False) == []


def test_traces_that_are_on_do() -> None:
    assert "opentelemetry.sdk.trace" in imported(traces=True)
