"""Programs that nobody sits in front of: personal access tokens, and clients with an account of their own."""

import re
import time
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from support.auth_service import AuthService, Browser, Pkce, exchange, fields, post
from tupli_auth.adapters.clients import Client, Clients
from tupli_auth.adapters.people import People, User
from tupli_auth.adapters.tables import FAMILIES, PERSONAL, USERS
from tupli_auth.core.secrets import SecretKind, hash_of, make_secret
from tupli_schemas.access_tokens import Claims, Expected, public_keys, verified
from tupli_schemas.ids import make_id

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
PERSONAL_TYPE = "urn:tupli:params:oauth:token-type:personal"
SECRET = make_secret(SecretKind.CLIENT, bytes(31) + b"1")
SERVICE = make_id(5, 5)


def claims_of(auth: AuthService, token: str) -> Claims:
    keys = public_keys(httpx.get(f"{auth.url}/oauth/jwks", trust_env=False).json())
    return verified(token, keys, Expected(auth.url, "tupli"), time.time())


def make(browser: Browser, *words: str, name: str = "robot", days: str = "30") -> httpx.Response:
    given = {"name": name, "days": days} | {f"may_{word}": "yes" for word in words}
    return browser.post("/account/tokens", fields(browser.get("/account")) | given)


def made(browser: Browser, *words: str) -> str:
    found = re.search(r'<code id="token">([^<]*)</code>', make(browser, *words).text)
    assert found is not None
    return found[1]


def for_token(auth: AuthService, token: str, **more: str) -> httpx.Response:
    form = {
        "grant_type": EXCHANGE,
        "client_id": "tupli-cli",
        "subject_token": token,
        "subject_token_type": PERSONAL_TYPE,
    }
    return post(auth.url, "/oauth/token", {k: v for k, v in (form | more).items() if v})


def test_a_personal_token_becomes_one_of_ten_minutes(auth: AuthService, browser: Browser) -> None:
    token = made(browser, "record", "read")

    given = for_token(auth, token).json()

    assert token.startswith("tupli_pat_")
    assert given["expires_in"] == 600
    assert given["issued_token_type"].endswith("access_token")
    assert "refresh_token" not in given
    assert claims_of(auth, given["access_token"]).scope == {"record", "read"}
    assert "last used" in browser.get("/account").text


def test_it_is_shown_once_and_kept_as_a_hash(auth: AuthService, browser: Browser) -> None:
    token = made(browser, "record")

    assert token not in browser.get("/account").text
    with auth.parts.database.reading() as connection:
        kept = connection.execute(sa.select(PERSONAL)).one()
    assert kept.hash == hash_of(token)


def test_a_scope_is_narrowed_and_never_widened(auth: AuthService, browser: Browser) -> None:
    token = made(browser, "record", "read")

    assert for_token(auth, token, scope="record").json()["scope"] == "record"
    assert for_token(auth, token, scope="record delete").json()["error"] == "invalid_scope"
    assert for_token(auth, token, scope="account").json()["error"] == "invalid_scope"


def test_one_that_is_revoked_holds_no_more_nor_what_came_of_it(auth: AuthService, browser: Browser) -> None:
    token = made(browser, "read")
    access = for_token(auth, token).json()["access_token"]
    page = browser.get("/account")
    family = re.search(r'name="token" value="([^"]*)"', page.text)
    assert family is not None
    form = {"csrf": fields(page)["csrf"], "token": family[1]}

    assert browser.post("/account/tokens/revoke", form).status_code == 303
    assert browser.post("/account/tokens/revoke", form).status_code == 404
    assert for_token(auth, token).json()["error"] == "invalid_grant"
    told = httpx.get(
        f"{auth.url}/oauth/userinfo", headers={"authorization": f"Bearer {access}"}, trust_env=False
    )
    assert told.status_code == 401


def test_nobody_revokes_another_ones(auth: AuthService, browser: Browser) -> None:
    token = made(browser, "read")
    with auth.parts.database.transaction() as connection:
        People(connection).add(User(SERVICE, "other"), 1)
        connection.execute(sa.update(FAMILIES).values(user=SERVICE))
        family = connection.execute(sa.select(PERSONAL.c.family)).scalar_one()

    form = {"csrf": fields(browser.get("/account"))["csrf"], "token": family.hex()}
    assert browser.post("/account/tokens/revoke", form).status_code == 404
    assert for_token(auth, token).status_code == 200


def test_one_whose_time_is_over_holds_no_more(auth: AuthService, browser: Browser) -> None:
    token = made(browser, "read")
    with auth.parts.database.transaction() as connection:
        connection.execute(sa.update(FAMILIES).values(ends_at=1))

    assert for_token(auth, token).json()["error"] == "invalid_grant"
    assert "You have none" in browser.get("/account").text


@pytest.mark.parametrize(
    ("words", "name", "days"),
    [
        ((), "robot", "30"),
        (("account",), "robot", "30"),
        (("read",), "", "30"),
        (("read",), " ", "30"),
        (("read",), "x" * 101, "30"),
        (("read",), "robot", "0"),
        (("read",), "robot", "367"),
        (("read",), "robot", "-1"),
        (("read",), "robot", "\u0663"),
        (("read",), "robot", "9" * 30),
    ],
)
def test_what_may_not_be_made_is_not(
    auth: AuthService, browser: Browser, words: tuple[str, ...], name: str, days: str
) -> None:
    assert make(browser, *words, name=name, days=days).status_code == 422
    with auth.parts.database.reading() as connection:
        assert connection.execute(sa.select(PERSONAL)).all() == []


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"subject_token": ""}, "invalid_grant"),
        ({"subject_token": "tupli_pat_x"}, "invalid_grant"),
        ({"subject_token": make_secret(SecretKind.PERSONAL, bytes(32))}, "invalid_grant"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:access_token"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"client_id": "tupli-web"}, "unauthorized_client"),
        ({"client_id": "nobody"}, "invalid_client"),
    ],
)
def test_what_is_no_personal_token_is_refused(
    auth: AuthService, browser: Browser, more: dict[str, str], error: str
) -> None:
    assert for_token(auth, made(browser, "read"), **more).json()["error"] == error


def test_neither_a_refresh_token_nor_an_access_token_is_one(auth: AuthService, browser: Browser) -> None:
    pkce = Pkce()
    tokens = exchange(auth.url, pkce, browser.code(pkce)).json()
    for kind in ("refresh_token", "access_token"):
        assert for_token(auth, tokens[kind]).json()["error"] == "invalid_grant"


@pytest.fixture
def service(auth: AuthService) -> AuthService:
    """A client with a secret and a service account that the administrator owns."""
    with auth.parts.database.transaction() as connection:
        owner = connection.execute(sa.select(USERS.c.id)).scalar_one()
        People(connection).add(User(SERVICE, "recorder-7", owner), 1)
        grants, scope = frozenset({"client_credentials"}), frozenset({"record", "read"})
        client = Client(
            "recorder", "Recorder", (), grants, scope, hash_of(SECRET), SERVICE, may_introspect=True
        )
        Clients(connection).put(client, 1)
    return auth


def credentials(auth: AuthService, **more: str) -> httpx.Response:
    form = {"grant_type": "client_credentials", "client_id": "recorder", "client_secret": SECRET}
    return post(auth.url, "/oauth/token", {k: v for k, v in (form | more).items() if v})


def test_a_client_with_a_secret_acts_as_its_account(service: AuthService) -> None:
    form = {"grant_type": "client_credentials", "scope": "record"}
    by_basic = post(service.url, "/oauth/token", form, auth=("recorder", SECRET)).json()

    assert "refresh_token" not in by_basic
    claims = claims_of(service, by_basic["access_token"])
    assert (claims.subject, claims.client) == (SERVICE, "recorder")
    assert claims.scope == {"record"}
    assert credentials(service).json()["scope"] == "read record"


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"client_secret": ""}, "invalid_client"),
        ({"client_secret": make_secret(SecretKind.CLIENT, bytes(32))}, "invalid_client"),
        ({"client_secret": "\u00fc"}, "invalid_client"),
        ({"client_id": "tupli-cli", "client_secret": ""}, "invalid_client"),
        ({"scope": "delete"}, "invalid_scope"),
        ({"scope": "account"}, "invalid_scope"),
    ],
)
def test_who_has_no_secret_or_asks_for_more_gets_nothing(
    service: AuthService, more: dict[str, str], error: str
) -> None:
    assert credentials(service, **more).json()["error"] == error


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic /w==", "Basic Og==", "Bearer x", "Basic " + "A" * 9_000]
)
def test_a_header_that_is_none_is_refused(service: AuthService, header: str) -> None:
    form = {"grant_type": "client_credentials"}
    answer = post(service.url, "/oauth/token", form, headers={"authorization": header})

    assert answer.status_code in {400, 401}


def test_a_service_account_ends_with_its_owner(service: AuthService) -> None:
    with service.parts.database.transaction() as connection:
        connection.execute(sa.delete(USERS).where(USERS.c.owner.is_(None)))

    assert credentials(service).json()["error"] == "invalid_client"


def test_who_may_know_is_told_whether_a_token_holds(service: AuthService, browser: Browser) -> None:
    pkce = Pkce()
    tokens = exchange(service.url, pkce, browser.code(pkce, scope="read")).json()

    def asked(token: str) -> dict[str, Any]:
        answer = post(service.url, "/oauth/introspect", {"token": token}, auth=("recorder", SECRET))
        found: dict[str, Any] = answer.json()
        return found

    told = asked(tokens["access_token"])
    assert (told["active"], told["scope"], told["client_id"]) == (True, "read", "tupli-cli")
    assert asked(tokens["refresh_token"])["active"]
    post(service.url, "/oauth/revoke", {"client_id": "tupli-cli", "token": tokens["refresh_token"]})
    for token in (tokens["access_token"], tokens["refresh_token"], "nothing", "a.b.c"):
        assert asked(token) == {"active": False}


def test_a_client_without_a_secret_is_told_nothing(service: AuthService, browser: Browser) -> None:
    pkce = Pkce()
    tokens = exchange(service.url, pkce, browser.code(pkce)).json()
    form = {"client_id": "tupli-cli", "token": tokens["access_token"]}

    assert post(service.url, "/oauth/introspect", form).json()["error"] == "invalid_client"
