import pytest

from tupli_auth.core.errors import PasswordRefused
from tupli_auth.core.passwords import PasswordRules, normal

COMMON = frozenset({"password", "qwertyuiop12", "password1234", "dragon"})
RULES = PasswordRules(COMMON.__contains__)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "zwölf Zeichen",
        "            .",
        "x" * 255 + "y",
        "日本語のパスワードは長い方がよい",
    ],
)
def test_what_may_be_set(password: str) -> None:
    assert RULES.check(password) == normal(password)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "at least 12"),
        ("elevenchars", "at least 12"),
        ("x" * 257, "at most 256"),
        ("qwertyuiop12", "tried first"),
        ("QwertyUiop12", "tried first"),
        ("Password!1234567", "tried first"),
        ("dragondragon", "tried first"),
        ("passwordpasswordpassword", "tried first"),
        ("administrator", "name"),
        ("Administrator2026!", "name"),
    ],
)
def test_what_may_not(password: str, why: str) -> None:
    with pytest.raises(PasswordRefused, match=why):
        RULES.check(password, "administrator", "tupli")


def test_lengths_are_settings() -> None:
    assert PasswordRules(lambda _: False, min_length=7).check("pytupli") == "pytupli"


def test_a_password_is_the_same_however_a_keyboard_composes_it() -> None:
    assert normal("u\u0308") == normal("\u00fc")
