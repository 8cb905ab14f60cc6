"""A PostgreSQL server for tests: the one in TUPLI_TEST_POSTGRES, else one of this machine's own programs."""

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from support.server_process import free_port

NOWHERE = (
    "no PostgreSQL: name one in TUPLI_TEST_POSTGRES (postgresql://user:password@host), or install it"
    " (apt-get install postgresql)"
)


@cache
def server() -> str:
    """The address of a server that may make databases."""
    return os.environ.get("TUPLI_TEST_POSTGRES") or _own_server()


def new_database() -> str:
    """The address of an empty database."""
    name = f"tupli_{uuid.uuid4().hex}"
    with psycopg.connect(f"{server()}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return f"{server()}/{name}"


def _own_server() -> str:
    programs, folder, port = _programs(), Path(tempfile.mkdtemp(prefix="tupli-pg-")), free_port()
    become: list[str] = []
    if os.geteuid() == 0:  # it refuses to run as root
        become = ["runuser", "-u", "postgres", "--"]
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    data = folder / "data"
    _run(
        [*become, str(programs / "initdb"), "-D", str(data), "-U", "tupli", "--auth=trust", "--no-sync"],
        folder,
    )
    options = f"-k {folder} -c listen_addresses=127.0.0.1 -p {port} -c fsync=off -c max_connections=200"
    log = folder / "log"
    _run(
        [*become, str(programs / "pg_ctl"), "-D", str(data), "-l", str(log), "-o", options, "-w", "start"],
        folder,
    )

    @atexit.register
    def stop() -> None:
        _run([*become, str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop"], folder)
        shutil.rmtree(folder)

    return f"postgresql://tupli@127.0.0.1:{port}"


def _programs() -> Path:
    """Where Debian keeps them, or where they are found."""
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3])
    )
    assert versions, NOWHERE
    return versions[-1].parent


def _run(command: list[str], folder: Path) -> None:
    """Its words go to a file: the server would keep a pipe open."""
    with (folder / "out").open("ab") as out:
        done = subprocess.run(command, cwd=folder, stdout=out, stderr=out, check=False, timeout=100)
    assert done.returncode == 0, (folder / "out").read_text()
