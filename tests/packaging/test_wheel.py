"""The distribution: one wheel with every package, a light client, and nothing that names a place of ours."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER_ONLY = (
    "chdb",
    "clickhouse_connect",
    "fastapi",
    "starlette",
    "uvicorn",
    "structlog",
    "pydantic_settings",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.builders.wheel import WheelBuilder; print(next(WheelBuilder(sys.argv[1]).build(directory=sys.argv[2])))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(ROOT), str(out)],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
    )
    return zipfile.ZipFile(done.stdout.split()[-1])


@pytest.mark.parametrize(
    "name",
    [
        "tupli/__init__.py",
        "tupli/py.typed",
        "tupli_schemas/py.typed",
        "tupli_schemas/clickhouse/0001_control.sql",
        "tupli_ingest/app.py",
        "tupli_query/app.py",
        "tupli_auth/app.py",
        "tupli_auth/http/templates/login.html",
        "tupli_auth/http/templates/style.css",
        "tupli_auth/adapters/migrations/versions/m0001_accounts.py",
        "tupli_standalone/__main__.py",
    ],
)
def test_the_wheel_holds_every_package(wheel: zipfile.ZipFile, name: str) -> None:
    assert name in wheel.namelist()


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/", 1)[0] for name in wheel.namelist()}
    packages = {top for top in tops if not top.endswith(".dist-info")}
    assert packages == {
        "tupli",
        "tupli_schemas",
        "tupli_ingest",
        "tupli_query",
        "tupli_auth",
        "tupli_standalone",
    }


def test_the_client_needs_no_server_package() -> None:
    """Every module of the client imports where none of the server's packages is installed."""
    code = (
        "import sys, pkgutil, importlib\n"
        f"for name in {SERVER_ONLY!r}: sys.modules[name] = None\n"
        "import tupli\n"
        "for module in pkgutil.walk_packages(tupli.__path__, 'tupli.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_locked_requirements_have_hashes_and_no_addresses(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"https?://|--index|--find-links|file:", text)
    pins = re.findall(r"^[A-Za-z0-9._-]+(?:\[[^\]]*\])?==\S+", text, re.MULTILINE)
    assert pins
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert all("--hash=sha256:" in entry for entry in entries), [
        entry[:60] for entry in entries if "--hash" not in entry
    ]
