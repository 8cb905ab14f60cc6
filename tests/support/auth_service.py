"""The auth service for tests: its parts over a database, served on a port of its own, and a browser that reads its pages."""

import base64
import hashlib
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import uvicorn
from pydantic import SecretStr

from support.server_process import free_port
from tupli_auth.app import AuthParts, make_app
from tupli_auth.settings import AuthSettings

SECRET: Final = "7Q2vd0Zc9WmTnLkXy4RbH1uEoJs8GfAp"
ADMINISTRATOR: Final = "admin"
PASSWORD: Final = "correct horse battery staple"
REDIRECT: Final = "http://127.0.0.1:9/callback"


def auth_settings(database: str, port: int = 8083, **more: Any) -> AuthSettings:
    """Settings of tests: cheap hashes, an administrator with a password."""
    given: dict[str, Any] = {
        "issuer": f"http://127.0.0.1:{port}",
        "database": database,
        "secret": SecretStr(SECRET),
        "administrator": ADMINISTRATOR,
        "administrator_password": SecretStr(PASSWORD),
        "password_hash_kib": 8_192,
        "password_hash_passes": 1,
    }
    return AuthSettings(**(given | more))


@dataclass
class AuthService:
    """A service that answers at `url`."""

    url: str
    parts: AuthParts
    link: str | None

    def browser(self) -> "Browser":
        return Browser(self.url)


@contextmanager
def serving_auth(database: str, **more: Any) -> Iterator[AuthService]:
    """A service on loopback, within the block."""
    port = free_port()
    parts = AuthParts(auth_settings(database, port, **more))
    link = parts.start()
    server = uvicorn.Server(
        uvicorn.Config(make_app(parts), "127.0.0.1", port, log_config=None, lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < until
            time.sleep(0.01)
        yield AuthService(f"http://127.0.0.1:{port}", parts, link)
    finally:
        server.should_exit = True
        thread.join(30)
        parts.close()


@dataclass
class Pkce:
    """A verifier and its challenge (RFC 7636), written down here a second time."""

    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Browser:
    """Keeps a cookie, reads forms, and follows redirects within the service; no library sends `Secure` cookies without TLS."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookie = ""
        self._http = httpx.Client(trust_env=False, timeout=30)

    def get(self, path: str) -> httpx.Response:
        return self._kept(self._http.get(self._at(path), headers=self._headers()))

    def post(self, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
        return self._kept(self._http.post(self._at(path), data=form, headers=self._headers() | headers))

    def log_in(
        self, name: str = ADMINISTRATOR, password: str = PASSWORD, then: str = "/account"
    ) -> httpx.Response:
        page = self.get("/login?" + urlencode({"next": then}))
        return self.post("/login", fields(page) | {"name": name, "password": password})

    def allow(self, address: str, decision: str = "allow") -> httpx.Response:
        """Open an authorization request, and answer it."""
        page = self.get(address)
        assert page.status_code == 200, page.text
        return self.post(action(page), fields(page) | {"decision": decision})

    def code(self, pkce: Pkce, **more: str) -> str:
        """A code that somebody who is logged in allows."""
        given = answered(self.allow(authorization(pkce, **more)))
        return given["code"]

    def close(self) -> None:
        self._http.close()

    def _at(self, path: str) -> str:
        return path if path.startswith("http") else self.url + path

    def _headers(self) -> dict[str, str]:
        return {"cookie": self.cookie} if self.cookie else {}

    def _kept(self, response: httpx.Response) -> httpx.Response:
        for given in response.headers.get_list("set-cookie"):
            self.cookie = given.partition(";")[0]
        return response


def authorization(pkce: Pkce, **more: str) -> str:
    """The address of an authorization request."""
    given = {
        "response_type": "code",
        "client_id": "tupli-cli",
        "redirect_uri": REDIRECT,
        "code_challenge": pkce.challenge,
        "code_challenge_method": "S256",
        "state": "xyz",
    }
    return "/oauth/authorize?" + urlencode({k: v for k, v in (given | more).items() if v})


def exchange(url: str, pkce: Pkce, code: str, /, **more: str) -> httpx.Response:
    """Exchange a code."""
    given = {
        "grant_type": "authorization_code",
        "client_id": "tupli-cli",
        "code": code,
        "redirect_uri": REDIRECT,
        "code_verifier": pkce.verifier,
    }
    return post(url, "/oauth/token", {k: v for k, v in (given | more).items() if v})


def refresh(url: str, token: str, /, **more: str) -> httpx.Response:
    """Exchange a refresh token."""
    given = {"grant_type": "refresh_token", "client_id": "tupli-cli", "refresh_token": token}
    return post(url, "/oauth/token", given | more)


def post(url: str, path: str, form: dict[str, str], **more: Any) -> httpx.Response:
    return httpx.post(url + path, data=form, trust_env=False, timeout=30, **more)


def answered(response: httpx.Response) -> dict[str, str]:
    """What a redirect tells the client."""
    assert response.status_code == 302, response.text
    return dict(parse_qsl(urlsplit(response.headers["location"]).query))


def fields(page: httpx.Response) -> dict[str, str]:
    """The hidden fields of a page's form."""
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text)
    return {name: unescape(value) for name, value in found}


def action(page: httpx.Response) -> str:
    """Where a page's form is sent."""
    found = re.search(r'<form method="post" action="([^"]*)">', page.text)
    assert found is not None, page.text
    return unescape(found[1])
