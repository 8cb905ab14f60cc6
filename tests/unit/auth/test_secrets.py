import pytest
from hypothesis import given
from hypothesis import strategies as st

from tupli_auth.core.secrets import SecretKind, hash_of, is_secret, make_secret, successor_of

RANDOM = st.binary(min_size=32, max_size=32)
KINDS = st.sampled_from(SecretKind)


@given(KINDS, RANDOM)
def test_a_secret_is_one_of_its_kind_alone(kind: SecretKind, random: bytes) -> None:
    secret = make_secret(kind, random)

    assert [other for other in SecretKind if is_secret(other, secret)] == [kind]
    assert secret.isascii()
    assert secret.replace("_", "").isalnum()


@given(KINDS, RANDOM, st.data())
def test_what_is_cut_or_mistyped_is_none(kind: SecretKind, random: bytes, data: st.DataObject) -> None:
    secret = make_secret(kind, random)
    at = data.draw(st.integers(0, len(secret) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda letter: letter != secret[at]))

    for wrong in (secret[:at], secret + "0", secret[:at] + other + secret[at + 1 :]):
        assert not is_secret(kind, wrong)


@given(RANDOM, RANDOM)
def test_different_bits_are_different_secrets(one: bytes, other: bytes) -> None:
    same = make_secret(SecretKind.REFRESH, one) == make_secret(SecretKind.REFRESH, other)
    assert same == (one == other)


@given(RANDOM, RANDOM, RANDOM)
def test_a_successor_takes_both_the_token_and_its_nonce(random: bytes, nonce: bytes, other: bytes) -> None:
    token = make_secret(SecretKind.REFRESH, random)
    successor = successor_of(token, nonce)

    assert is_secret(SecretKind.REFRESH, successor)
    assert successor == successor_of(token, nonce)
    assert (successor_of(token, other) == successor) == (other == nonce)
    assert (successor_of(make_secret(SecretKind.REFRESH, other), nonce) == successor) == (other == random)


def test_of_a_secret_its_sha_256_is_kept() -> None:
    assert (
        hash_of("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )  # FIPS 180-4


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_has_256_bits(size: int) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        make_secret(SecretKind.CODE, bytes(size))
