"""Access tokens (RFC 9068), ID tokens (OpenID Connect Core), and refresh tokens that begin a family."""

import base64
import hashlib
from typing import Any

from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from joserfc import jwt
from joserfc.jwk import KeySet

from tupli_auth.accounts.work import Work
from tupli_auth.adapters.people import User
from tupli_auth.adapters.signing_keys import SigningKey
from tupli_auth.core.secrets import RANDOM_BYTES, SecretKind, make_secret
from tupli_schemas.ids import id_text
from tupli_schemas.signed import ALGORITHM


class AccessTokens(JWTBearerTokenGenerator):
    """Signs access tokens with the key of the day. Authlib's own lifetimes are days: here there is one, for all grants."""

    def __init__(self, work: Work) -> None:
        super().__init__(
            work.means.issuer,
            alg=ALGORITHM,
            refresh_token_generator=self._refresh_token,
            expires_generator=work.means.lifetimes.access_s,
        )
        self._work = work

    def get_jwks(self) -> KeySet:
        """The key that signs, so that its id stands in the header."""
        return key_set(self._work.signing_key)

    def get_audiences(self, client: Any, user: Any, scope: Any) -> str:  # noqa: ARG002 -- Authlib's
        """What tokens are for: our services, not the client."""
        return self._work.means.audience

    def get_extra_claims(self, client: Any, grant_type: Any, user: User, scope: Any) -> dict[str, Any]:  # noqa: ARG002
        """Who, of which login, and since when; always somebody with an account."""
        login = self._work.login
        claims: dict[str, Any] = {"sub": id_text(user.id)}
        if login.family is not None:
            claims["sid"] = id_text(login.family)
        if login.logged_in_at is not None:
            claims["auth_time"] = login.logged_in_at // 1_000
        return claims

    def _refresh_token(self, **_: Any) -> str:
        return make_secret(SecretKind.REFRESH, self._work.means.random(RANDOM_BYTES))


def key_set(key: SigningKey) -> KeySet:
    """A set of one key, which Authlib and joserfc name in the header of what it signs."""
    return KeySet([type(key.private).import_key(key.private.as_dict(private=True), {"kid": key.kid})])


def id_token(work: Work, user: User, client: str, access_token: str, nonce: str | None) -> str:
    """Who logged in, signed for the client (OpenID Connect Core section 2)."""
    now = work.now_ms // 1_000
    half = hashlib.sha256(access_token.encode()).digest()[:16]
    claims: dict[str, Any] = {
        "iss": work.means.issuer,
        "sub": id_text(user.id),
        "aud": client,
        "iat": now,
        "exp": now + work.means.lifetimes.access_s,
        "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
    }
    if work.login.logged_in_at is not None:
        claims["auth_time"] = work.login.logged_in_at // 1_000
    if nonce is not None:
        claims["nonce"] = nonce
    return jwt.encode({"alg": ALGORITHM, "typ": "JWT"}, claims, key_set(work.signing_key))
