"""Our modules, run as commands in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Mapping

TIMEOUT_S = 100


def run_module(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`python -m ARGUMENTS`, run to its end.

    Args:
        environment: Variables beside those of this process, those that begin with `TUPLI_` aside.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TUPLI_")}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env=inherited | dict(environment),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
