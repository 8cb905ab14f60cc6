"""Names and passwords on the pages: who comes in, how long others wait, and what the cookie is."""

import re

import httpx
import pytest
import sqlalchemy as sa

from support.auth_service import ADMINISTRATOR, PASSWORD, AuthService, Browser, fields, serving_auth
from tupli_auth.adapters.audit import entries
from tupli_auth.adapters.tables import FAILURES, SESSIONS, USERS


def test_a_login_leads_to_the_account_and_out_again(auth: AuthService) -> None:
    browser = auth.browser()
    assert browser.get("/account").headers["location"].startswith("/login?")

    led = browser.log_in()
    assert led.headers["location"] == "/account"
    page = browser.get("/account")
    assert ADMINISTRATOR in page.text

    browser.post("/logout", fields(page))
    assert browser.get("/account").status_code == 303
    browser.close()


def test_the_cookie_belongs_to_this_host_and_to_no_script(auth: AuthService) -> None:
    browser = auth.browser()
    before = browser.get("/login").headers["set-cookie"]
    after = browser.log_in().headers["set-cookie"]

    for given in (before, after):
        assert given.startswith("__Host-tupli=tupli_sid_")
        assert {"Path=/", "Secure", "HttpOnly", "SameSite=lax"} <= set(re.split("; ", given))
        assert "Domain" not in given
    assert before.partition(";")[0] != after.partition(";")[0]  # who set the first one is not logged in
    browser.close()


@pytest.mark.parametrize("path", ["/login", "/account", "/setup", "/oauth/authorize", "/pages/style.css"])
def test_pages_run_no_script_and_stand_in_no_frame(auth: AuthService, path: str) -> None:
    browser = auth.browser()
    browser.log_in()
    answer = browser.get(path)

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script" not in answer.text
    if "html" in answer.headers["content-type"]:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
    browser.close()


@pytest.mark.parametrize(
    ("name", "password", "status"),
    [
        ("ADMIN", PASSWORD, 303),
        (ADMINISTRATOR, PASSWORD + " ", 401),
        (ADMINISTRATOR, "", 401),
        ("nobody", PASSWORD, 401),
        ("", "", 401),
        ("\u00fc", "\u00fc", 401),
        (ADMINISTRATOR, "x" * 5_000, 400),
        (ADMINISTRATOR, "x" * 300, 401),
    ],
)
def test_who_comes_in(auth: AuthService, name: str, password: str, status: int) -> None:
    browser = auth.browser()
    answer = browser.log_in(name, password)

    assert answer.status_code == status
    assert (browser.get("/account").status_code == 200) == (status == 303)
    browser.close()


@pytest.mark.parametrize(
    "then", ["https://evil.example", "//evil.example", "/\\evil.example", "/account\\..", "", "/x"]
)
def test_a_login_leads_nowhere_else(auth: AuthService, then: str) -> None:
    browser = auth.browser()
    assert browser.log_in(then=then).headers["location"] == "/account"
    browser.close()


def test_who_fails_often_waits_longer_each_time_and_nobody_else_does(auth: AuthService) -> None:
    browser = auth.browser()
    answers = [browser.log_in(ADMINISTRATOR, "wrong").status_code for _ in range(6)]
    told = browser.log_in()

    assert answers == [401] * 5 + [429]
    assert told.status_code == 429
    assert int(told.headers["retry-after"]) >= 1
    assert browser.log_in("somebody", "wrong").status_code == 401
    with auth.parts.database.transaction() as connection:  # the wait is over
        connection.execute(sa.update(FAILURES).values(last_at=FAILURES.c.last_at - 10_000))
    assert browser.log_in().status_code == 303
    browser.close()


def test_a_login_that_nobody_uses_is_over(auth: AuthService, browser: Browser) -> None:
    with auth.parts.database.transaction() as connection:
        connection.execute(sa.update(SESSIONS).values(seen_at=SESSIONS.c.seen_at - 9 * 3_600 * 1_000))

    assert browser.get("/account").status_code == 303


def test_a_login_ends_though_it_is_used(auth: AuthService, browser: Browser) -> None:
    with auth.parts.database.transaction() as connection:
        connection.execute(sa.update(SESSIONS).values(ends_at=1))

    assert browser.get("/account").status_code == 303


def test_a_hash_of_other_costs_is_made_anew(database_url: str) -> None:
    with serving_auth(database_url) as auth, auth.parts.database.reading() as connection:
        before = connection.execute(sa.select(USERS.c.password_hash)).scalar_one()
    with serving_auth(database_url, password_hash_passes=2) as auth:
        browser = auth.browser()
        assert browser.log_in().status_code == 303
        assert browser.log_in().status_code == 303
        browser.close()
        with auth.parts.database.reading() as connection:
            after = connection.execute(sa.select(USERS.c.password_hash)).scalar_one()

    assert "m=8192,t=1,p=1" in before
    assert "m=8192,t=2,p=1" in after


def test_what_happened_is_noted_without_a_secret(auth: AuthService) -> None:
    browser = auth.browser()
    browser.log_in(ADMINISTRATOR, "a wrong password")
    browser.log_in("my password by mistake", PASSWORD)
    browser.log_in()

    with auth.parts.database.reading() as connection:
        noted = entries(connection)

    assert [entry.what for entry in noted] == ["administrator made", "login failed", "login failed", "login"]
    assert noted[1].about == noted[3].actor
    assert noted[2].about is None
    assert noted[3].asker.address == "127.0.0.1"
    assert "mistake" not in str(noted)
    assert "wrong" not in str(noted)
    browser.close()


def test_the_first_start_gives_a_link_that_sets_the_password_once(database_url: str) -> None:
    with serving_auth(database_url, administrator_password=None) as auth:
        assert auth.link is not None
        browser = auth.browser()
        assert browser.log_in().status_code == 401
        page = browser.get(auth.link)
        refused = browser.post("/setup", fields(page) | {"password": "password1234"})
        assert refused.status_code == 422
        assert "tried first" in refused.text
        assert browser.post("/setup", fields(page) | {"password": PASSWORD}).status_code == 303
        assert browser.post("/setup", fields(page) | {"password": PASSWORD + "2"}).status_code == 404
        assert browser.get(auth.link).status_code == 404
        assert browser.log_in().status_code == 303
        browser.close()
    with serving_auth(database_url, administrator_password=None) as auth:
        assert auth.link is None


def test_a_database_that_is_away_is_told_as_such(auth: AuthService) -> None:
    broken = auth.parts.database.engine
    auth.parts.database.engine = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:9/nothing")
    try:
        answer = httpx.get(f"{auth.url}/readyz", trust_env=False)
    finally:
        auth.parts.database.engine = broken

    assert answer.status_code == 503
    assert answer.json()["code"] == "unavailable"
    assert "nobody" not in answer.text
