"""Which transports share requests: those to one server, as one and the same."""

import pytest

from tupli.transport import FakeTransport, HttpTransport


def other_token() -> str:
    return "t"


def token() -> str:
    return "t"


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (("http://a", "t"), ("http://a/", "t"), True),
        (("http://a", token), ("http://a", token), True),
        (("http://a", "t"), ("http://b", "t"), False),
        (("http://a", "t"), ("http://a", "u"), False),
        (("http://a", "t"), ("http://a", ""), False),
        (("http://a", token), ("http://a", other_token), False),
        (("http://a", "t"), ("http://a", token), False),
    ],
)
def test_requests_are_shared_with_the_same_server_and_credential(
    one: tuple[str, str], other: tuple[str, str], *, shared: bool
) -> None:
    assert (HttpTransport(*one).route == HttpTransport(*other).route) is shared


def test_who_waits_longer_shares_with_nobody_who_does_not() -> None:
    assert HttpTransport("http://a", timeout=1).route != HttpTransport("http://a", timeout=2).route


def test_the_token_of_the_environment_is_a_credential_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUPLI_TOKEN", "first")
    first = HttpTransport("http://a")
    monkeypatch.setenv("TUPLI_TOKEN", "second")
    assert first.route != HttpTransport("http://a").route


def test_a_fake_shares_with_itself_alone() -> None:
    fake = FakeTransport()
    assert fake.route == fake.route
    assert fake.route != FakeTransport().route


class Login:
    """Gives a token; equal to others in a way of its own, and so without a hash."""

    def __call__(self) -> str:
        return "t"

    def __eq__(self, _: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]  # as Python does where __eq__ alone is written


def test_functions_that_cannot_be_compared_share_nothing() -> None:
    login = Login()
    routes = {HttpTransport("http://a", given).route for given in (login, login, Login())}
    assert len(routes) == 2
