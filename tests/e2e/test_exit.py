"""Scripts that close nothing leave nothing open: in development mode the interpreter's end has nothing to say."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tupli
from support.server_process import ServerProcess

HEADER = "import gymnasium as gym, tupli, numpy as np\n"
SCRIPTS = {
    "read": "print(len(tupli.dataset('kept').to_numpy()['reward']))",
    "read and keep a reference": "ds = tupli.dataset('kept')\nds.load()\nprint(len(ds.preview()))",
    "a stream that is left half-way": "it = iter(tupli.dataset('large').batches(9))\nprint(len(next(it)['step']) // 9)",
    "record": """
with tupli.record(gym.make('CartPole-v1'), 'closed') as env:
    env.reset(seed=1)
    env.step(0)
print(len(tupli.dataset('closed').preview()))
""",
    "record without an end": """
env = tupli.record(gym.make('CartPole-v1'), 'open')
env.reset(seed=1)
env.step(0)
print(1)
""",
    "record static data": """
storage = tupli.TupliAPIClient()
made = storage.store_benchmark('static')
print(storage.record(tupli.Episode(made.id, tuples=[tupli.RLTuple([0.0], 0, 1.0)])).n_tuples)
""",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server") / "data") as server:
        with tupli.TupliAPIClient(server.url) as storage:
            benchmark = storage.store_benchmark("kept").id
            storage.record(tupli.Episode(benchmark, tuples=[tupli.RLTuple([0.0], 0, 1.0)]))
            large = storage.store_benchmark("large").id
            tuples = [tupli.RLTuple(np.full(500, i, np.float32), 0, 1.0) for i in range(10_000)]
            storage.record(tupli.Episode(large, tuples=tuples))
        yield server


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_the_end_of_a_script_is_silent(script: str, server: ServerProcess, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "always", "-c", HEADER + script],
        env=os.environ | {"TUPLI_URL": server.url, "TUPLI_SPOOL_DIR": str(tmp_path), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    ours = [line for line in done.stderr.splitlines() if "ResourceWarning" in line or "tupli" in line]
    assert ours == []
    assert not any((tmp_path).glob("*/*/*.seg"))
