"""The README's example runs as it stands, against a real server."""

import os
import re
import subprocess
import sys
from pathlib import Path

from support.server_process import ServerProcess

README = Path(__file__).parents[2] / "README.md"


def test_the_ten_lines_run(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 1
    with ServerProcess(tmp_path / "data") as server:
        env = os.environ | {"TUPLI_URL": server.url, "TUPLI_SPOOL_DIR": str(tmp_path / "spool")}
        command = [sys.executable, "-W", "error", "-c", blocks[0]]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\((\d+), 4\) float32 \(\1, 4\)\n", done.stdout), done.stdout
