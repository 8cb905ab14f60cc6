"""Clients that others wrote log in, refresh, and verify."""

import jwt
import pytest
from requests_oauthlib import OAuth2Session

from support.auth_service import REDIRECT, AuthService, Browser


@pytest.fixture(autouse=True)
def _without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # on this machine alone
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_requests_oauthlib_logs_in_and_refreshes_and_pyjwt_verifies(
    auth: AuthService, browser: Browser
) -> None:
    session = OAuth2Session("tupli-cli", redirect_uri=REDIRECT, scope=["openid", "read"], pkce="S256")
    address, state = session.authorization_url(f"{auth.url}/oauth/authorize", nonce="n-1")
    sent = browser.allow(address).headers["location"]

    token = session.fetch_token(
        f"{auth.url}/oauth/token", authorization_response=sent, include_client_id=True
    )

    assert state in sent
    assert set(token["scope"]) == {"openid", "read"}
    keys = jwt.PyJWKClient(f"{auth.url}/oauth/jwks")
    for encoded, audience in ((token["access_token"], "tupli"), (token["id_token"], "tupli-cli")):
        key = keys.get_signing_key_from_jwt(encoded)
        claims = jwt.decode(encoded, key, algorithms=["ES256"], audience=audience, issuer=auth.url)
        assert claims["sub"]
        assert claims.get("nonce", "n-1") == "n-1"
    assert jwt.get_unverified_header(token["access_token"])["typ"] == "at+jwt"

    again = session.refresh_token(f"{auth.url}/oauth/token", client_id="tupli-cli")
    assert again["refresh_token"] != token["refresh_token"]
    told = session.get(f"{auth.url}/oauth/userinfo").json()
    assert told == {"sub": claims["sub"]}


def test_pyjwt_refuses_another_audience(auth: AuthService, browser: Browser) -> None:
    session = OAuth2Session("tupli-cli", redirect_uri=REDIRECT, scope=["read"], pkce="S256")
    address, _ = session.authorization_url(f"{auth.url}/oauth/authorize")
    token = session.fetch_token(
        f"{auth.url}/oauth/token",
        authorization_response=browser.allow(address).headers["location"],
        include_client_id=True,
    )
    key = jwt.PyJWKClient(f"{auth.url}/oauth/jwks").get_signing_key_from_jwt(token["access_token"])

    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token["access_token"], key, algorithms=["ES256"], audience="tupli-cli")
