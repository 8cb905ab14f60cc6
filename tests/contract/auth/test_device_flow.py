"""The device code grant: a terminal shows a code, and somebody answers it in a browser."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from support.auth_service import AuthService, Browser, fields, post, refresh
from tupli_auth.adapters.audit import entries
from tupli_auth.adapters.tables import DEVICES, FAILURES

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def device(auth: AuthService) -> dict[str, Any]:
    return begin(auth, scope="record read")


def begin(auth: AuthService, **more: str) -> dict[str, Any]:
    answer = post(auth.url, "/oauth/device", {"client_id": "tupli-cli"} | more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def poll(auth: AuthService, device: dict[str, Any], **more: str) -> httpx.Response:
    form = {"grant_type": GRANT, "client_id": "tupli-cli", "device_code": device["device_code"]}
    return post(auth.url, "/oauth/token", form | more)


def answer(browser: Browser, code: str, decision: str) -> httpx.Response:
    page = browser.get("/device")
    asked = browser.post("/device", fields(page) | {"user_code": code})
    assert asked.status_code == 200, asked.text
    return browser.post("/device/answer", fields(asked) | {"decision": decision})


def rest(auth: AuthService) -> None:
    """Ten seconds are over."""
    with auth.parts.database.transaction() as connection:
        connection.execute(sa.update(DEVICES).values(polled_at=DEVICES.c.polled_at - 10_000))


def test_a_device_waits_and_is_allowed(auth: AuthService, browser: Browser, device: dict[str, Any]) -> None:
    assert [device["expires_in"], device["interval"]] == [600, 5]
    assert device["verification_uri"] == f"{auth.url}/device"
    assert device["user_code"] in device["verification_uri_complete"]
    assert poll(auth, device).json()["error"] == "authorization_pending"

    assert answer(browser, device["user_code"].lower().replace("-", " "), "allow").status_code == 200
    tokens = poll(auth, device)

    assert tokens.json()["scope"] == "read record"
    assert refresh(auth.url, tokens.json()["refresh_token"]).status_code == 200
    assert poll(auth, device).json()["error"] == "invalid_grant"  # once


def test_the_page_shows_who_asks_for_what_from_where_and_skips_no_question(
    browser: Browser, device: dict[str, Any], auth: AuthService
) -> None:
    led = browser.get(device["verification_uri_complete"])
    assert device["user_code"] in led.text
    assert poll(auth, device).json()["error"] == "authorization_pending"

    asked = browser.post("/device", fields(led) | {"user_code": device["user_code"]})

    for shown in ("tupli-cli", "127.0.0.1", "record: create benchmarks", device["user_code"], "admin"):
        assert shown in asked.text
    rest(auth)
    assert poll(auth, device).json()["error"] == "authorization_pending"


def test_a_device_that_is_refused_gets_nothing(
    auth: AuthService, browser: Browser, device: dict[str, Any]
) -> None:
    assert answer(browser, device["user_code"], "deny").status_code == 200

    assert poll(auth, device).json()["error"] == "access_denied"
    assert poll(auth, device).json()["error"] == "invalid_grant"


def test_a_device_that_asks_too_soon_is_slowed_down_for_good(
    auth: AuthService, device: dict[str, Any]
) -> None:
    assert [poll(auth, device).json()["error"] for _ in range(2)] == ["authorization_pending", "slow_down"]
    with auth.parts.database.reading() as connection:
        assert connection.execute(sa.select(DEVICES.c.interval_s)).scalar() == 10
    rest(auth)
    assert poll(auth, device).json()["error"] == "authorization_pending"


def test_a_code_holds_for_ten_minutes(auth: AuthService, browser: Browser, device: dict[str, Any]) -> None:
    with auth.parts.database.transaction() as connection:
        connection.execute(sa.update(DEVICES).values(ends_at=DEVICES.c.ends_at - 600_000))

    assert poll(auth, device).json()["error"] == "expired_token"
    page = browser.get("/device")
    assert browser.post("/device", fields(page) | {"user_code": device["user_code"]}).status_code == 404


def test_eight_polls_at_once_get_one_login(
    auth: AuthService, browser: Browser, device: dict[str, Any]
) -> None:
    answer(browser, device["user_code"], "allow")
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: poll(auth, device).status_code, range(8)))

    assert sorted(found) == [200] + [400] * 7


def test_another_client_does_not_get_it(auth: AuthService, browser: Browser, device: dict[str, Any]) -> None:
    answer(browser, device["user_code"], "allow")

    assert poll(auth, device, client_id="tupli-web").json()["error"] == "unauthorized_client"
    assert poll(auth, device).status_code == 200


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"client_id": "tupli-web"}, "unauthorized_client"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"client_id": ""}, "invalid_client"),
        ({"scope": "root"}, "invalid_scope"),
    ],
)
def test_who_may_not_ask_is_told(auth: AuthService, more: dict[str, str], error: str) -> None:
    assert post(auth.url, "/oauth/device", {"client_id": "tupli-cli"} | more).json()["error"] == error


def test_codes_are_not_guessed(auth: AuthService, browser: Browser, device: dict[str, Any]) -> None:
    page = fields(browser.get("/device"))
    tries = [browser.post("/device", page | {"user_code": f"BBBB-BBB{last}"}) for last in "BCDFGH"]
    right = browser.post("/device", page | {"user_code": device["user_code"]})

    assert [one.status_code for one in tries] == [404] * 5 + [429]
    assert right.status_code == 429
    assert int(right.headers["retry-after"]) >= 1
    with auth.parts.database.transaction() as connection:
        connection.execute(sa.update(FAILURES).values(last_at=FAILURES.c.last_at - 600_000))
    assert browser.post("/device", page | {"user_code": device["user_code"]}).status_code == 200


def test_who_is_not_logged_in_answers_nothing(auth: AuthService, device: dict[str, Any]) -> None:
    stranger = auth.browser()
    page = stranger.get("/login")

    for path in ("/device", "/device/answer"):
        form = fields(page) | {"user_code": device["user_code"], "decision": "allow"}
        assert stranger.post(path, form).headers["location"].startswith("/login")
    assert poll(auth, device).json()["error"] == "authorization_pending"
    stranger.close()


def test_neither_code_is_kept_and_the_answer_is_noted(
    auth: AuthService, browser: Browser, device: dict[str, Any]
) -> None:
    with auth.parts.database.reading() as connection:
        kept = str(connection.execute(sa.select(DEVICES)).all())
    answer(browser, device["user_code"], "allow")
    with auth.parts.database.reading() as connection:
        noted = [entry for entry in entries(connection) if entry.what == "device allowed"]

    assert device["user_code"].replace("-", "") not in kept.replace("-", "")
    assert device["device_code"][-30:] not in kept
    assert noted[0].details["device_address"] == "127.0.0.1"
