"""Revocation (RFC 7009) and introspection (RFC 7662)."""

from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from tupli_auth.accounts.work import Work
from tupli_auth.adapters.grants import Family
from tupli_auth.core.scopes import text_of
from tupli_auth.core.secrets import SecretKind, hash_of, is_secret
from tupli_auth.oauth.models import ALL_METHODS, SECRET_METHODS, OAuthClient
from tupli_schemas.access_tokens import Claims, Expected, TokenRefused, public_keys, verified
from tupli_schemas.ids import id_text


@dataclass(frozen=True, slots=True)
class Found:
    """A token that somebody asks about: what it says when it is an access token, and the login that it came of."""

    client: str
    family: Family | None
    claims: Claims | None = None
    is_over: bool = False

    def check_client(self, client: OAuthClient) -> bool:
        """Whether it was issued to that client."""
        return self.client == client.client.id

    def is_expired(self) -> bool:
        """Whether its time is over, or it was exchanged."""
        return self.is_over

    def is_revoked(self) -> bool:
        """Whether the login that it came of has ended."""
        return self.family is not None and self.family.revoked_at is not None


def find(work: Work, token: str) -> Found | None:
    """A token of either kind, whatever it is said to be: the hint is only one (RFC 7009 section 2.1)."""
    if is_secret(SecretKind.REFRESH, token):
        kept = work.grants.take(hash_of(token))
        if kept is None:
            return None
        is_over = kept.used_at is not None or min(kept.ends_at, kept.family.ends_at) <= work.now_ms
        return Found(kept.family.client, kept.family, is_over=is_over)
    try:
        claims = claims_in(work, token)
    except TokenRefused:
        return None
    family = None if claims.family is None else work.grants.family(claims.family)
    is_over = work.user(claims.subject) is None or (claims.family is not None and family is None)
    return Found(claims.client, family, claims, is_over=is_over)


def claims_in(work: Work, token: str) -> Claims:
    """What an access token says.

    Raises:
        TokenRefused: It may not be believed.
    """
    keys = public_keys({"keys": [key.public() for key in work.keys]})
    return verified(token, keys, Expected(work.means.issuer, work.means.audience), work.now_ms / 1_000)


class Revocation(RevocationEndpoint):
    """Ends the login that a token came of: with its refresh tokens go the access tokens that are out."""

    CLIENT_AUTH_METHODS = ALL_METHODS

    def query_token(self, token_string: str, token_type_hint: str | None) -> Found | None:  # noqa: ARG002 -- Authlib's
        """The token."""
        return find(self.server.work, token_string)

    def revoke_token(self, token: Any, request: Any) -> None:  # noqa: ARG002 -- Authlib's
        """End its login."""
        work: Work = self.server.work
        family: Family | None = token.family
        if family is not None and work.grants.revoke(family.id, "revoked", work.now_ms):
            work.audit.note("tokens revoked", actor=family.user, client_id=family.client)


class Introspection(IntrospectionEndpoint):
    """Says of a token whether it holds, to the clients that may know."""

    CLIENT_AUTH_METHODS = SECRET_METHODS

    def check_permission(self, token: Any, client: Any, request: Any) -> bool:  # noqa: ARG002 -- Authlib's
        """Whether that client may know: services, and whom the token was issued to."""
        return bool(client.client.may_introspect or token.check_client(client))

    def query_token(self, token_string: str, token_type_hint: str | None) -> Found | None:  # noqa: ARG002 -- Authlib's
        """The token."""
        return find(self.server.work, token_string)

    def introspect_token(self, token: Any) -> dict[str, Any]:
        """What it says (RFC 7662 section 2.2)."""
        work: Work = self.server.work
        claims: Claims | None = token.claims
        if claims is None:
            family: Family = token.family
            return {
                "active": True,
                "client_id": family.client,
                "sub": id_text(family.user),
                "scope": text_of(family.scope),
                "iss": work.means.issuer,
            }
        return {
            "active": True,
            "token_type": "Bearer",
            "client_id": claims.client,
            "sub": id_text(claims.subject),
            "scope": text_of(claims.scope),
            "iss": work.means.issuer,
            "aud": work.means.audience,
            "iat": claims.issued_at,
            "exp": claims.ends_at,
            "jti": claims.token_id,
        }
