"""Access tokens, verified: by a key that issues them here, and by everybody who would like to."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, RSAKey

from tupli_schemas.access import Reach
from tupli_schemas.access_tokens import (
    LEEWAY_S,
    Expected,
    TokenRefused,
    UnknownKey,
    public_keys,
    verified,
)
from tupli_schemas.ids import id_text, make_id

KEY = ECKey.generate_key("P-256", {"kid": "one"})
OTHER = ECKey.generate_key("P-256", {"kid": "two"})
KEYS = {"one": ECKey.import_key(KEY.as_dict(private=False))}
EXPECTED = Expected("https://auth.example", "tupli")
NOW = 1_800_000_000
SUBJECT, FAMILY = make_id(1, 2), make_id(3, 4)
HEADER = {"alg": "ES256", "typ": "at+jwt", "kid": "one"}
CLAIMS: dict[str, Any] = {
    "iss": "https://auth.example",
    "aud": "tupli",
    "sub": id_text(SUBJECT),
    "sid": id_text(FAMILY),
    "client_id": "tupli-cli",
    "scope": "openid read record",
    "jti": "t-1",
    "iat": NOW - 10,
    "exp": NOW + 590,
    "auth_time": NOW - 1_000,
}


def encoded(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(header: Any = HEADER, claims: Any = CLAIMS, key: ECKey = KEY) -> str:
    """A token, signed whatever it says; written down here a second time."""
    signed = f"{encoded(header)}.{encoded(claims)}"
    private = key.private_key
    assert private is not None
    r, s = decode_dss_signature(private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def test_what_a_token_says() -> None:
    claims = verified(token(), KEYS, EXPECTED, NOW)

    assert (claims.subject, claims.client, claims.family) == (SUBJECT, "tupli-cli", FAMILY)
    assert claims.scope == {"openid", "read", "record"}
    assert claims.reach == {Reach.READ, Reach.RECORD}
    assert (claims.issued_at, claims.ends_at, claims.logged_in_at) == (NOW - 10, NOW + 590, NOW - 1_000)


@pytest.mark.parametrize(
    "change",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": "es256"},
        {"typ": "JWT"},
        {"typ": "tupli-grant+jwt"},
        {"typ": "application/at+jwt"},
        {"jwk": KEY.as_dict(private=False)},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["MII"]},
        {"crit": ["exp"]},
        {"b64": False},
        {"kid": 1},
        {"kid": ["one"]},
        {"zip": "DEF"},
    ],
    ids=lambda change: "=".join(str(one)[:20] for item in change.items() for one in item if item[0] != "jwk"),
)
def test_a_header_that_says_anything_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        verified(token(HEADER | change), KEYS, EXPECTED, NOW)


@pytest.mark.parametrize("missing", HEADER)
def test_a_header_that_lacks_something_is_refused(missing: str) -> None:
    header = {name: value for name, value in HEADER.items() if name != missing}
    with pytest.raises(TokenRefused):
        verified(token(header), KEYS, EXPECTED, NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://evil.example"},
        {"iss": "https://auth.example/"},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": []},
        {"sub": "admin"},
        {"sub": None},
        {"sid": "x"},
        {"scope": ["read"]},
        {"client_id": 1},
        {"jti": None},
        {"exp": NOW},
        {"exp": NOW - 1},
        {"exp": NOW + 591},
        {"exp": "never"},
        {"exp": float(NOW + 100)},
        {"exp": True},
        {"iat": NOW + LEEWAY_S + 1},
        {"iat": NOW + 600},
        {"iat": -1},
        {"auth_time": "yesterday"},
    ],
    ids=str,
)
def test_a_claim_that_is_another_one_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        verified(token(claims=CLAIMS | change), KEYS, EXPECTED, NOW)


@pytest.mark.parametrize("missing", sorted(CLAIMS.keys() - {"sid", "auth_time"}))
def test_a_claim_that_is_missing_is_told(missing: str) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != missing}
    with pytest.raises(TokenRefused, match=r"has no|does not end"):
        verified(token(claims=claims), KEYS, EXPECTED, NOW)


def test_a_key_that_is_not_known_is_told_apart() -> None:
    with pytest.raises(UnknownKey):
        verified(token(HEADER | {"kid": "two"}, key=OTHER), KEYS, EXPECTED, NOW)


def test_another_key_of_the_same_name_signs_nothing() -> None:
    with pytest.raises(TokenRefused, match="signature"):
        verified(token(key=OTHER), KEYS, EXPECTED, NOW)


@pytest.mark.parametrize("claims", [[], "x", 1, None, b"{", b"\xff", b"[" * 3_000])
def test_what_is_signed_has_to_be_claims(claims: Any) -> None:
    with pytest.raises(TokenRefused):
        verified(token(claims=claims), KEYS, EXPECTED, NOW)


@given(st.data())
def test_a_token_in_which_one_letter_is_another_says_nothing(data: st.DataObject) -> None:
    good = token()
    at = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.characters().filter(lambda letter: letter != good[at]))
    changed = good[:at] + other + good[at + 1 :]
    if at == len(good) - 1 and _bits(changed) == _bits(good):
        return  # the last letter of base64 has bits that mean nothing
    with pytest.raises(TokenRefused):
        verified(changed, KEYS, EXPECTED, NOW)


@given(st.text(max_size=200))
def test_no_text_is_a_token(text: str) -> None:
    with pytest.raises(TokenRefused):
        verified(text, KEYS, EXPECTED, NOW)


def test_a_token_of_many_bytes_is_none() -> None:
    with pytest.raises(TokenRefused, match="no JSON Web Token"):
        verified(token(claims=CLAIMS | {"more": "x" * 4_096}), KEYS, EXPECTED, NOW)


def test_of_a_set_those_keys_count_that_may_sign_tokens() -> None:
    members = [
        KEY.as_dict(private=False),
        RSAKey.generate_key(2048, private=True).as_dict(private=False, kid="rsa"),
        OTHER.as_dict(private=False) | {"use": "enc"},
        OTHER.as_dict(private=False) | {"alg": "ES384", "kid": "three"},
        ECKey.generate_key("P-384", {"kid": "four"}).as_dict(private=False),
    ]

    assert set(public_keys({"keys": members})) == {"one"}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"keys": {}},
        {"keys": ["x"]},
        {"keys": [KEY.as_dict(private=True)]},
        {"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": "AA", "y": "AA"}]},
        {"keys": [{"kty": "EC", "crv": "P-256", "kid": "a"}]},
    ],
    ids=[
        "nothing",
        "a list",
        "no keys",
        "an object",
        "a text",
        "a private key",
        "no point",
        "no coordinates",
    ],
)
def test_what_is_no_set_of_public_keys_is_told(document: Any) -> None:
    with pytest.raises(ValueError, match="set"):
        public_keys(document)


def test_a_secret_that_everybody_knows_signs_nothing() -> None:
    """The confusion of algorithms: a public key taken for the secret of HMAC."""
    import hmac

    signed = f"{encoded(HEADER | {'alg': 'HS256'})}.{encoded(CLAIMS)}"
    public = OctKey.import_key(json.dumps(KEY.as_dict(private=False)).encode())
    tag = hmac.new(public.raw_value, signed.encode(), "sha256").digest()
    with pytest.raises(TokenRefused):
        verified(f"{signed}.{encoded(tag)}", KEYS, EXPECTED, NOW)


def _bits(text: str) -> bytes:
    try:
        last = text.rpartition(".")[2]
        return base64.urlsafe_b64decode(last + "==")
    except ValueError:
        return b""
