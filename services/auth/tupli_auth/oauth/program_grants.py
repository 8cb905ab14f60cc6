"""Tokens for programs that nobody sits in front of: client credentials, and personal access tokens."""

from typing import Any, Final

from authlib.oauth2.rfc6749 import (
    BaseGrant,
    ClientCredentialsGrant,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    TokenEndpointMixin,
    UnauthorizedClientError,
)

from tupli_auth.accounts.work import Login, Work
from tupli_auth.core.scopes import granted, text_of
from tupli_auth.core.secrets import SecretKind, hash_of, is_secret
from tupli_auth.oauth.models import ALL_METHODS, SECRET_METHODS

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
PERSONAL_TYPE: Final = "urn:tupli:params:oauth:token-type:personal"
ACCESS_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"


class ServiceGrant(ClientCredentialsGrant):
    """Client credentials (RFC 6749 section 4.4): a client with a secret acts as its service account."""

    TOKEN_ENDPOINT_AUTH_METHODS = SECRET_METHODS

    def create_token_response(self) -> Any:
        """The token.

        Raises:
            UnauthorizedClientError: The client has no account, or its account has ended.
        """
        work: Work = self.server.work
        request: Any = self.request
        acts_as = request.client.client.acts_as
        user = None if acts_as is None else work.user(acts_as)
        if user is None:
            raise UnauthorizedClientError("the client has no account")
        token = self.generate_token(user=user, scope=request.payload.scope, include_refresh_token=False)
        work.audit.note("token issued", actor=user.id, client_id=request.client.client.id)
        return 200, token, self.TOKEN_RESPONSE_HEADER


class PersonalTokenGrant(BaseGrant, TokenEndpointMixin):
    """A personal access token for an access token (RFC 8693). It is sent nowhere else."""

    GRANT_TYPE = EXCHANGE
    TOKEN_ENDPOINT_AUTH_METHODS = ALL_METHODS

    def validate_token_request(self) -> None:
        """See what is exchanged.

        Raises:
            InvalidRequestError: It is something else than a personal access token.
            InvalidGrantError: The token does not hold.
        """
        client: Any = self.authenticate_token_endpoint_client()
        if not client.check_grant_type(EXCHANGE):
            raise UnauthorizedClientError("the client may not exchange tokens")
        self.request.client = client
        form = self.request.form
        if form.get("subject_token_type") != PERSONAL_TYPE:
            raise InvalidRequestError("subject_token_type is none that is taken")
        if form.get("requested_token_type", ACCESS_TYPE) != ACCESS_TYPE:
            raise InvalidRequestError("only access tokens are issued")
        work: Work = self.server.work
        given = form.get("subject_token", "")
        kept = None
        if is_secret(SecretKind.PERSONAL, given):
            kept = work.personal_tokens.find(hash_of(given), work.now_ms)
        user = None if kept is None else work.user(kept.user)
        if kept is None or user is None:
            raise InvalidGrantError("the token does not hold")
        self.request.user, self.request.credential = user, kept

    def create_token_response(self) -> Any:
        """The access token."""
        work: Work = self.server.work
        request: Any = self.request
        kept = request.credential
        scope = granted(request.payload.scope, kept.scope)
        if scope is None:
            raise InvalidScopeError
        work.login = Login(kept.family)
        token = self.generate_token(user=request.user, scope=text_of(scope), include_refresh_token=False)
        work.personal_tokens.used(kept.family, work.now_ms)
        return 200, token | {"issued_token_type": ACCESS_TYPE}, self.TOKEN_RESPONSE_HEADER
