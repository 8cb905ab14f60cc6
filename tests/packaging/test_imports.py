"""`import tupli` costs next to nothing, and yet has every name: they are imported when they are first used."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import tupli

HEAVY = ("rich", "typer", "httpx", "gymnasium", "pyarrow", "numpy", "psutil")
RECORDS = """
import os, tempfile, tupli, numpy
os.environ["TUPLI_URL"] = "http://127.0.0.1:9"
for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
    os.environ.pop(name, None)
tupli.TupliAPIClient, tupli.F, tupli.Episode
with tempfile.TemporaryDirectory() as folder:
    rec = tupli.Recorder("any", spool_dir=folder, drain_timeout=0.5)
    rec.start(numpy.zeros(2))
    rec.step(0, numpy.zeros(2), 0.0, True, False)
    rec.close()
"""

READS = """
import os, tupli
for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
    os.environ.pop(name, None)
from tupli.datasets.reading import Reading
tupli.dataset("any", storage=tupli.TupliAPIClient("http://127.0.0.1:9")).with_tuple_filter(tupli.F("reward") > 0)
"""


def imported_by(code: str, *, warnings: str = "error") -> set[str]:
    """Which of the heavy packages a fresh interpreter has imported after this code."""
    code += f"\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", warnings, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert imported_by("import tupli; tupli.__version__; tupli.TupliError; dir(tupli)") == set()


def test_a_process_that_only_records_draws_nothing_and_needs_no_httpx() -> None:
    assert imported_by(RECORDS, warnings="ignore") & {"rich", "typer", "httpx"} == set()


def test_reading_a_dataset_needs_no_environment_and_draws_nothing() -> None:
    assert imported_by(READS) & {"rich", "typer", "httpx", "gymnasium"} == set()


def test_every_name_is_there_and_offered() -> None:
    names: dict[str, object] = {}
    exec("from tupli import *", names)
    for name in tupli.__all__:
        assert getattr(tupli, name) is names[name]
    assert set(tupli.__all__) <= set(dir(tupli))
    assert {"errors", "recording", "storage"} <= set(dir(tupli))


def test_submodules_are_reached_from_the_package() -> None:
    assert imported_by("import tupli; assert tupli.errors.NotFound is tupli.NotFound") == set()


def test_a_name_that_is_not_there_is_told() -> None:
    with pytest.raises(AttributeError, match="'tupli' has no attribute 'records'"):
        _ = tupli.records  # type: ignore[attr-defined]  # that is what is tested


def test_the_version_is_that_of_the_distribution() -> None:
    assert tupli.__version__ == version("tupli")


def test_the_command_line_starts_without_what_its_commands_need() -> None:
    assert imported_by("import tupli.cli.main") == {"rich", "typer"}
