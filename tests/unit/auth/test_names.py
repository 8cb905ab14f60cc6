import pytest
from hypothesis import given
from hypothesis import strategies as st

from tupli_auth.core.errors import NameRefused
from tupli_auth.core.names import check_name, deleted_name, folded
from tupli_schemas.ids import make_id

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@given(st.text(LETTERS, min_size=1, max_size=1), st.text(LETTERS + "._@-", max_size=127))
def test_ascii_words_are_names(first: str, rest: str) -> None:
    name = f"{first}x{rest}"[:128]
    if not folded(name).startswith("deleted-"):
        assert check_name(name) == name


@given(st.text(min_size=1).filter(lambda text: not text.isascii()))
def test_nothing_else_is(text: str) -> None:
    with pytest.raises(NameRefused):
        check_name(text)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-a",
        ".a",
        "@a",
        "a b",
        "a/b",
        "a\n",
        "a\x00",
        "x" * 129,
        "global",
        "GLOBAL",
        "Me",
        "deleted-1",
        "DELETED-x",
    ],
)
def test_words_that_mean_something_else_are_none(name: str) -> None:
    with pytest.raises(NameRefused):
        check_name(name)


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**42 - 1))
def test_whoever_was_deleted_is_called_as_nobody_else_may_be(now_ms: int, random_bits: int) -> None:
    with pytest.raises(NameRefused):
        check_name(deleted_name(make_id(now_ms, random_bits)))


def test_two_who_were_deleted_have_two_names() -> None:
    assert deleted_name(make_id(1, 5 << 30 | 1)) != deleted_name(make_id(1, 5 << 30 | 2))
