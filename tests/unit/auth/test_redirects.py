import pytest
from hypothesis import given
from hypothesis import strategies as st

from tupli_auth.core.redirects import is_redirect, is_registered

LOOPBACK = ("http://127.0.0.1/callback", "http://[::1]/callback")
WEB = ("https://tupli.example/web/callback",)


@pytest.mark.parametrize(
    ("asked", "registered"),
    [
        ("http://127.0.0.1/callback", LOOPBACK),
        ("http://127.0.0.1:1/callback", LOOPBACK),
        ("http://127.0.0.1:65535/callback", LOOPBACK),
        ("http://[::1]:49152/callback", LOOPBACK),
        ("https://tupli.example/web/callback", WEB),
        ("http://127.0.0.1:8080/callback?a=b", ("http://127.0.0.1/callback?a=b",)),
    ],
)
def test_what_is_registered(asked: str, registered: tuple[str, ...]) -> None:
    assert is_registered(asked, registered)


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "http://127.0.0.1:8080/",
        "http://127.0.0.1:8080/Callback",
        "http://127.0.0.1:8080/callback/",
        "http://127.0.0.1:8080/callback/..",
        "http://127.0.0.1:8080/callback?x=1",
        "http://127.0.0.1:8080/callback#x",
        "http://127.0.0.1:8080/callback#",
        "http://127.0.0.1:/callback",
        "http://127.0.0.1:99999/callback",
        "http://127.0.0.1:8o80/callback",
        "http://127.0.0.1:8080@evil.example/callback",
        "http://user@127.0.0.1:8080/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://127.1:8080/callback",
        "http://2130706433:8080/callback",
        "http://localhost:8080/callback",
        "http://127.0.0.2:8080/callback",
        "http://0.0.0.0:8080/callback",
        "http://[::]:8080/callback",
        "http://[::1%25lo]:8080/callback",
        "http://[::ffff:127.0.0.1]:8080/callback",
        "https://127.0.0.1:8080/callback",
        "HTTP://127.0.0.1:8080/callback",
        "http:/127.0.0.1:8080/callback",
        "http://127.0.0.1:8080\\@evil.example/callback",
        "http://127.0.0.1\t:8080/callback",
        "http://127.0.0.1:8080/callback\n",
        "https://tupli.example:443/web/callback",
        "https://tupli.example/web/callback/",
        "https://TUPLI.example/web/callback",
        "https://tupli.example.evil.example/web/callback",
        "javascript:alert(1)",
    ],
)
def test_what_is_not(asked: str) -> None:
    assert not is_registered(asked, LOOPBACK + WEB)


@given(st.text())
def test_no_text_is_registered_with_nobody(asked: str) -> None:
    assert not is_registered(asked, ())
    if is_registered(asked, LOOPBACK):
        assert asked.startswith(("http://127.0.0.1", "http://[::1]"))


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("https://tupli.example/callback", True),
        ("http://127.0.0.1/callback", True),
        ("http://localhost/callback", False),
        ("http://tupli.example/callback", False),
        ("https://tupli.example/callback#part", False),
        ("https://user@tupli.example/callback", False),
        ("https:///callback", False),
        ("myapp://callback", False),
        ("https://tupli.example/ü", False),
    ],
)
def test_what_may_be_registered(address: str, *, may: bool) -> None:
    assert is_redirect(address) is may
