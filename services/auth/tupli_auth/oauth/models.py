"""Our records as Authlib asks them."""

import hmac
from typing import Any, Final

from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin

from tupli_auth.adapters.clients import Client
from tupli_auth.adapters.grants import Code, Refresh
from tupli_auth.core.redirects import is_registered
from tupli_auth.core.scopes import granted, text_of
from tupli_auth.core.secrets import SecretKind, hash_of, is_secret

SECRET_METHODS: Final = ("client_secret_basic", "client_secret_post")
ALL_METHODS: Final = (*SECRET_METHODS, "none")


class OAuthClient(ClientMixin):
    """A client, as Authlib asks it."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def get_client_id(self) -> str:
        """Its id."""
        return self.client.id

    def get_default_redirect_uri(self) -> Any:
        """None: where a code goes is always said (OpenID Connect Core section 3.1.2.1)."""
        return None

    def get_allowed_scope(self, scope: Any) -> Any:
        """What it may ask for; None where it may not."""
        found = granted(scope, self.client.scope)
        return None if found is None else text_of(found)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Whether a code may go there."""
        return is_registered(redirect_uri, self.client.redirects)

    def check_client_secret(self, client_secret: str) -> bool:
        """Whether this is its secret."""
        kept = self.client.secret_hash
        if kept is None or not is_secret(SecretKind.CLIENT, client_secret):
            return False
        return hmac.compare_digest(kept, hash_of(client_secret))

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002 -- Authlib's
        """A client with a secret shows it, whatever it asks for; one without has none to show."""
        return method == "none" if self.client.secret_hash is None else method in SECRET_METHODS

    def check_response_type(self, response_type: str) -> bool:
        """Codes alone."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether it may use this grant type."""
        return grant_type in self.client.grants


class TakenCode(AuthorizationCodeMixin):
    """A code that somebody brought, as Authlib asks it."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.code_challenge, self.code_challenge_method = code.challenge, "S256"

    def get_redirect_uri(self) -> str:
        """Where it was sent."""
        return self.code.redirect

    def get_scope(self) -> str:
        """What was granted."""
        return text_of(self.code.scope)


class TakenRefresh:
    """A refresh token that somebody brought, as Authlib asks it."""

    def __init__(self, token: Refresh) -> None:
        self.token = token

    def check_client(self, client: OAuthClient) -> bool:
        """Whether it was issued to that client."""
        return self.token.family.client == client.client.id

    def get_scope(self) -> str:
        """What was granted."""
        return text_of(self.token.family.scope)
