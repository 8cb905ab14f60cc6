"""Refresh tokens: rotated, repeated where an answer was lost, and never used by two."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from support.auth_service import AuthService, Browser, Pkce, exchange, post, refresh
from tupli_auth.adapters.audit import entries
from tupli_auth.adapters.tables import FAMILIES, METADATA, REFRESH
from tupli_auth.core.secrets import hash_of


@pytest.fixture
def first(auth: AuthService, browser: Browser) -> str:
    """A refresh token."""
    pkce = Pkce()
    token: str = exchange(auth.url, pkce, browser.code(pkce, scope="record read")).json()["refresh_token"]
    return token


def long_ago(auth: AuthService, token: str, **columns: int) -> None:
    """Have a token be used, or end, so many milliseconds earlier."""
    with auth.parts.database.transaction() as connection:
        table = REFRESH.c
        values = {name: table[name] - by for name, by in columns.items()}
        connection.execute(sa.update(REFRESH).where(table.hash == hash_of(token)).values(values))


def test_each_token_is_exchanged_for_the_next(auth: AuthService, first: str) -> None:
    second = refresh(auth.url, first).json()
    third = refresh(auth.url, second["refresh_token"]).json()

    assert len({first, second["refresh_token"], third["refresh_token"]}) == 3
    assert second["scope"] == "read record"
    assert second["expires_in"] == 600


def test_an_answer_that_was_lost_is_given_again(auth: AuthService, first: str) -> None:
    lost = refresh(auth.url, first).json()["refresh_token"]
    again = refresh(auth.url, first).json()["refresh_token"]

    assert again == lost
    assert refresh(auth.url, again).status_code == 200


def test_eight_processes_that_refresh_at_once_all_have_the_token_that_holds(
    auth: AuthService, first: str
) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: refresh(auth.url, first), range(8)))

    assert {answer.status_code for answer in answers} == {200}
    (token,) = {answer.json()["refresh_token"] for answer in answers}
    assert refresh(auth.url, token).status_code == 200


@pytest.mark.parametrize("why", ["its successor was used", "five seconds are over"])
def test_a_token_that_is_brought_again_ends_its_family(auth: AuthService, first: str, why: str) -> None:
    newest = refresh(auth.url, first).json()["refresh_token"]
    if why == "its successor was used":
        newest = refresh(auth.url, newest).json()["refresh_token"]
    else:
        long_ago(auth, first, used_at=5_001)

    assert refresh(auth.url, first).json()["error"] == "invalid_grant"
    assert refresh(auth.url, newest).json()["error"] == "invalid_grant"
    with auth.parts.database.reading() as connection:
        noted = [entry.what for entry in entries(connection)]
    assert noted.count("refresh token used again") == 1


def test_another_client_ends_nobodys_family(auth: AuthService, first: str) -> None:
    assert refresh(auth.url, first, client_id="tupli-web").json()["error"] == "invalid_grant"
    assert refresh(auth.url, first).status_code == 200


def test_a_token_ends_when_it_is_not_used(auth: AuthService, first: str) -> None:
    long_ago(auth, first, ends_at=31 * 24 * 3_600 * 1_000)

    assert refresh(auth.url, first).json()["error"] == "invalid_grant"


def test_a_login_ends_however_often_it_is_refreshed(auth: AuthService, first: str) -> None:
    with auth.parts.database.transaction() as connection:
        connection.execute(sa.update(FAMILIES).values(ends_at=1))

    assert refresh(auth.url, first).json()["error"] == "invalid_grant"


def test_a_scope_is_narrowed_and_never_widened(auth: AuthService, first: str) -> None:
    narrow = refresh(auth.url, first, scope="read").json()
    assert narrow["scope"] == "read"
    assert refresh(auth.url, narrow["refresh_token"], scope="read account").json()["error"] == "invalid_scope"
    assert refresh(auth.url, narrow["refresh_token"]).json()["scope"] == "read record"


def test_what_is_revoked_ends_with_all_that_came_of_the_login(auth: AuthService, first: str) -> None:
    tokens = refresh(auth.url, first).json()

    revoked = post(auth.url, "/oauth/revoke", {"client_id": "tupli-cli", "token": tokens["access_token"]})

    assert revoked.status_code == 200
    assert refresh(auth.url, tokens["refresh_token"]).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("token", ["", "nothing", "tupli_rt_" + "0" * 49, "a.b.c", "\u00fc"])
def test_who_revokes_what_is_no_token_is_told_nothing(auth: AuthService, token: str) -> None:
    form = {"client_id": "tupli-cli"} | ({"token": token} if token else {})
    assert post(auth.url, "/oauth/revoke", form).status_code == (200 if token else 400)


def test_a_client_revokes_its_own_tokens_alone(auth: AuthService, first: str) -> None:
    answer = post(auth.url, "/oauth/revoke", {"client_id": "tupli-web", "token": first})

    assert answer.json()["error"] == "invalid_grant"
    assert refresh(auth.url, first).status_code == 200


def test_no_token_is_kept(auth: AuthService, browser: Browser, first: str) -> None:
    second = refresh(auth.url, first).json()
    secrets = [first, second["refresh_token"], second["access_token"], browser.cookie.partition("=")[2]]

    with auth.parts.database.reading() as connection:
        kept = str([list(connection.execute(sa.select(table))) for table in METADATA.sorted_tables])

    for secret in secrets:
        assert secret not in kept
        assert secret[-30:] not in kept
