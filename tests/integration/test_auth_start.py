"""The auth service as a process: what it does not start with, and how it begins and ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from support.auth_service import SECRET, fields
from support.server_process import free_port


def environment(folder: Path, **more: str | None) -> dict[str, str]:
    given: dict[str, str | None] = {
        "TUPLI_AUTH_ISSUER": "http://127.0.0.1:8083",
        "TUPLI_AUTH_DATABASE": f"sqlite:///{folder}/auth.db",
        "TUPLI_AUTH_SECRET": SECRET,
        "TUPLI_AUTH_PASSWORD_HASH_KIB": "8192",
    }
    given |= {f"TUPLI_AUTH_{name}": value for name, value in more.items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUPLI_")}
    return kept | {name: value for name, value in given.items() if value is not None}


def run(*arguments: str, **how: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tupli_auth", *arguments]
    return subprocess.run(command, env=how["env"], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"SECRET": None}, "TUPLI_AUTH_SECRET is not set"),
        ({"SECRET": "short"}, "TUPLI_AUTH_SECRET: has fewer than 32 characters"),
        ({"SECRET": "x" * 40}, "TUPLI_AUTH_SECRET: is no secret"),
        ({"SECRET": "please-change-me-please-change-me-0123"}, "TUPLI_AUTH_SECRET: is no secret"),
        ({"ISSUER": None}, "TUPLI_AUTH_ISSUER is not set"),
        ({"ISSUER": "http://tupli.example"}, "TUPLI_AUTH_ISSUER has no TLS"),
        ({"ISSUER": "https://tupli.example/"}, "a slash at its end"),
        ({"ISSUER": "tupli.example"}, "TUPLI_AUTH_ISSUER is no address"),
        ({"INSECURE_ISSUER": "perhaps"}, "TUPLI_AUTH_INSECURE_ISSUER"),
        ({"DATABASE": "mysql://root@host/db"}, "TUPLI_AUTH_DATABASE begins with none of"),
        ({"DATABASE": "sqlite://"}, "TUPLI_AUTH_DATABASE names no file"),
        ({"DATABASE": "postgresql://u:hunter2hunter2@127.0.0.1:9/db"}, "the database does not answer"),
        ({"ACCESS_TOKEN_S": "601"}, "TUPLI_AUTH_ACCESS_TOKEN_S"),
        ({"ADMINISTRATOR": "global"}, "'global' is a reserved word"),
        ({"ADMINISTRATOR_PASSWORD": "password1234"}, "tried first"),
        ({"ADMINISTRATOR_PASSWORD": "short"}, "at least 12 characters"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_not_safe_does_not_start(tmp_path: Path, more: dict[str, str | None], told: str) -> None:
    done = run("serve", "--port", str(free_port()), env=environment(tmp_path, **more))

    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    for secret in ("hunter2hunter2", "password1234", SECRET, *filter(None, [more.get("SECRET")])):
        assert secret not in done.stderr


def test_a_process_serves_is_set_up_and_ends(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "tupli_auth", "serve", "--port", str(port)]
    process = subprocess.Popen(
        command,
        env=environment(tmp_path, ISSUER=url, LOG_LEVEL="debug", MISPELT="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(rf"Set it once: ({re.escape(url)}/setup\?link=(\S+))", process.stdout.readline())
        assert found is not None
        until = time.monotonic() + 30
        while not _is_ready(url):
            assert time.monotonic() < until
            time.sleep(0.05)
        page = httpx.get(found[1], trust_env=False)
        cookie = page.headers["set-cookie"].partition(";")[0]
        form = fields(page) | {"password": "correct horse battery staple"}
        done = httpx.post(f"{url}/setup", data=form, headers={"cookie": cookie}, trust_env=False)
        assert done.status_code == 303
        metadata = httpx.get(f"{url}/.well-known/oauth-authorization-server", trust_env=False).json()
        assert metadata["issuer"] == url
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {"/setup", "/readyz"} <= {line.get("path") for line in lines}
    assert any(line.get("variable") == "TUPLI_AUTH_MISPELT" for line in lines)
    for secret in (found[2], SECRET, cookie, "correct horse"):  # the canaries
        assert secret not in said


def test_an_operator_migrates_and_rotates(tmp_path: Path) -> None:
    env = environment(tmp_path)

    assert json.loads(run("migrate", env=env).stdout) == {"version": "0001"}
    kids = {json.loads(run("rotate-key", *more, env=env).stdout)["kid"] for more in ((), ("--now",))}
    assert len(kids) == 2


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
