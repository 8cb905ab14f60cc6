"""Authorization code with PKCE, from the page to a token that verifies."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from support.auth_service import (
    REDIRECT,
    AuthService,
    Browser,
    Pkce,
    answered,
    authorization,
    exchange,
    fields,
    refresh,
)
from tupli_schemas.access_tokens import Expected, public_keys, verified


def get(auth: AuthService, path: str, **headers: str) -> httpx.Response:
    return httpx.get(auth.url + path, headers=headers, trust_env=False)


def test_a_code_becomes_a_token_that_everybody_can_verify(auth: AuthService, browser: Browser) -> None:
    pkce = Pkce()

    given = answered(browser.allow(authorization(pkce, scope="record read")))
    tokens = exchange(auth.url, pkce, given["code"]).json()

    assert given["state"] == "xyz"
    assert given["iss"] == auth.url  # RFC 9207
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 600
    assert tokens["scope"] == "read record"
    keys = public_keys(get(auth, "/oauth/jwks").json())
    claims = verified(tokens["access_token"], keys, Expected(auth.url, "tupli"), time.time())
    assert claims.client == "tupli-cli"
    assert claims.scope == {"record", "read"}
    assert claims.family is not None


def test_the_one_who_logged_in_is_told_to_who_asks_for_it(auth: AuthService, browser: Browser) -> None:
    pkce = Pkce()
    tokens = exchange(auth.url, pkce, browser.code(pkce, scope="openid profile", nonce="n-1")).json()

    told = get(auth, "/oauth/userinfo", authorization=f"Bearer {tokens['access_token']}").json()

    assert told["preferred_username"] == "admin"
    assert tokens["id_token"].count(".") == 2


def test_eight_at_once_exchange_one_code_once(auth: AuthService, browser: Browser) -> None:
    pkce = Pkce()
    code = browser.code(pkce)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: exchange(auth.url, pkce, code), range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
    assert {answer.json()["error"] for answer in answers if answer.is_error} == {"invalid_grant"}


def test_a_code_that_is_brought_again_ends_what_came_of_it(auth: AuthService, browser: Browser) -> None:
    pkce = Pkce()
    code = browser.code(pkce)
    token = exchange(auth.url, pkce, code).json()["refresh_token"]

    assert exchange(auth.url, pkce, code).json() == {"error": "invalid_grant"} | _description(code="used")
    assert refresh(auth.url, token).json()["error"] == "invalid_grant"


def test_who_only_saw_a_code_ends_nobodys_login(auth: AuthService, browser: Browser) -> None:
    pkce = Pkce()
    code = browser.code(pkce)
    token = exchange(auth.url, pkce, code).json()["refresh_token"]

    assert exchange(auth.url, Pkce(), code).json()["error"] == "invalid_grant"
    assert refresh(auth.url, token).status_code == 200


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"code_verifier": "v" * 43}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"redirect_uri": "http://127.0.0.1:10/callback"}, "invalid_grant"),
        ({"redirect_uri": ""}, "invalid_grant"),
        ({"client_id": "tupli-web"}, "invalid_grant"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"client_id": ""}, "invalid_client"),
        ({"code": "tupli_code_" + "0" * 49}, "invalid_grant"),
        ({"code": "\ufffd\u2028"}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": '\u00fc"'}, "unsupported_grant_type"),
        ({"client_secret": "tupli_cs_1"}, "invalid_client"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_code_is_exchanged_as_it_was_asked_for_or_not_at_all(
    auth: AuthService, browser: Browser, more: dict[str, str], error: str
) -> None:
    pkce = Pkce()
    code = browser.code(pkce)

    answer = exchange(auth.url, pkce, code, **more)

    assert answer.json()["error"] == error
    assert answer.status_code in {400, 401}
    assert exchange(auth.url, pkce, code).status_code == 200  # it was not used up


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"code_challenge": "", "code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"scope": "root"}, "invalid_scope"),
        ({"scope": "read root"}, "invalid_scope"),
        ({"prompt": "none"}, "consent_required"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_asked_wrongly_is_told_to_the_client(
    browser: Browser, auth: AuthService, more: dict[str, str], error: str
) -> None:
    told = answered(browser.get(authorization(Pkce(), **more)))

    assert told["error"] == error
    assert told["state"] == "xyz"
    assert told["iss"] == auth.url
    assert "code" not in told


@pytest.mark.parametrize(
    "more",
    [
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": "http://127.0.0.1:9/callback/.."},
        {"redirect_uri": "http://localhost:9/callback"},
        {"redirect_uri": ""},
        {"redirect_uri": "http://127.0.0.1:9@evil.example/callback"},
        {"client_id": "nobody"},
        {"client_id": ""},
        {"client_id": "nobody", "response_type": "token"},
        {"redirect_uri": "https://evil.example/callback", "response_type": "token"},
    ],
    ids=lambda value: str(value)[:60],
)
def test_nothing_is_sent_to_an_address_that_is_not_the_clients(
    browser: Browser, more: dict[str, str]
) -> None:
    answer = browser.get(authorization(Pkce(), **more))

    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_somebody_may_say_no(auth: AuthService, browser: Browser) -> None:
    told = answered(browser.allow(authorization(Pkce()), decision="deny"))

    assert told == {"error": "access_denied", "state": "xyz", "iss": auth.url} | _description(**told)


def test_who_is_not_logged_in_is_led_through_the_login(auth: AuthService) -> None:
    browser, pkce = auth.browser(), Pkce()
    address = authorization(pkce)

    asked = browser.get(address)
    assert asked.status_code == 303
    led = browser.log_in(then=dict(httpx.URL(auth.url + asked.headers["location"]).params)["next"])

    assert led.headers["location"] == address
    assert "code" in answered(browser.allow(address))
    assert REDIRECT in browser.get(address).text
    browser.close()


def test_a_form_of_another_site_decides_nothing(browser: Browser) -> None:
    address = authorization(Pkce())

    forms: list[dict[str, str]] = [{}, {"csrf": "0" * 64}, {"csrf": "\u00fc"}]
    for form in forms:
        assert browser.post(address, form | {"decision": "allow"}).status_code == 403
    page = browser.get(address)
    foreign = browser.post(address, fields(page) | {"decision": "allow"}, origin="https://evil.example")
    assert foreign.status_code == 403


def _description(**told: str) -> dict[str, str]:
    """Texts for people, which are nobody's promise."""
    if "code" in told:
        return {"error_description": "There is no 'user' for this code."}
    return {"error_description": told["error_description"]} if "error_description" in told else {}
