"""The authorization server: Authlib's core, over one request's work."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from authlib.oauth2.rfc6749 import AuthorizationServer, InvalidRequestError, OAuth2Error
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE
from authlib.oauth2.rfc9207 import IssuerParameter

from tupli_auth.accounts.work import Login, Work
from tupli_auth.adapters.people import User
from tupli_auth.core.scopes import SCOPES
from tupli_auth.oauth.asked import Answer, Asked, Request
from tupli_auth.oauth.code_grant import CodeGrant, S256Only, keep_family
from tupli_auth.oauth.device_grant import DeviceEndpoint, DeviceGrant
from tupli_auth.oauth.endpoints import Introspection, Revocation
from tupli_auth.oauth.models import OAuthClient
from tupli_auth.oauth.program_grants import EXCHANGE, PersonalTokenGrant, ServiceGrant
from tupli_auth.oauth.refresh_grant import RotatingRefreshGrant
from tupli_auth.oauth.tokens import AccessTokens

GRANT_TYPES: Final = (
    "authorization_code",
    "refresh_token",
    "client_credentials",
    DEVICE_CODE_GRANT_TYPE,
    EXCHANGE,
)
JSON_HEADERS: Final = {"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthServer(AuthorizationServer):
    """Answers one request; made anew for the next."""

    def __init__(self, work: Work) -> None:
        super().__init__(scopes_supported=sorted(SCOPES))
        self.work = work
        self.register_token_generator("default", AccessTokens(work))
        self.register_grant(CodeGrant, [S256Only()])
        self.register_grant(RotatingRefreshGrant)
        self.register_grant(DeviceGrant)
        self.register_grant(ServiceGrant)
        self.register_grant(PersonalTokenGrant)
        self.register_endpoint(DeviceEndpoint(self))  # type: ignore[arg-type]  # it is none of its own kind
        self.register_endpoint(Revocation)
        self.register_endpoint(Introspection)
        self._issuer = _Issuer(work.means.issuer)

    # -- what is asked -----------------------------------------------------------------------------------------

    def token(self, asked: Asked) -> Answer:
        """Exchange a code or a refresh token (RFC 6749 section 3.2)."""
        return self._answered(asked, self.create_token_response)

    def revoke(self, asked: Asked) -> Answer:
        """End what a token came of."""
        return self._answered(asked, partial(self._endpoint, "revocation"))

    def device(self, asked: Asked) -> Answer:
        """Begin to wait for somebody's answer on another device (RFC 8628 section 3.1)."""
        return self._answered(asked, partial(self._endpoint, "device_authorization"))

    def introspect(self, asked: Asked) -> Answer:
        """Say whether a token holds."""
        return self._answered(asked, partial(self._endpoint, "introspection"))

    def consent(self, asked: Asked, user: User | None) -> CodeGrant:
        """What somebody is to be asked; `redirect_uri` and `request` of it are checked.

        Raises:
            OAuth2Error: The request means nothing; with a `redirect_uri` where that may be told to the client.
        """
        try:
            grant: Any = self.get_consent_grant(Request(asked), user)  # type: ignore[no-untyped-call]
        except OAuth2Error:
            raise
        except ValueError as error:  # Authlib quotes what it refuses, and cannot say it
            raise InvalidRequestError("the request cannot be read") from error
        if not isinstance(grant, CodeGrant):
            raise InvalidRequestError("only codes are given")
        return grant

    def decide(self, asked: Asked, user: User | None, login: Login, *, may: bool) -> Answer:
        """Send the code, or the refusal, to where the client wants it."""
        grant = self.consent(asked, user)
        self.work.login = login
        grant_user = user if may else None
        return self._told(self.create_authorization_response(grant.request, grant_user, grant))

    def refusal(self, asked: Asked, error: OAuth2Error) -> Answer:
        """What the client is told of an authorization request that means nothing."""
        return self._told(self.handle_error_response(Request(asked), error))

    # -- what Authlib asks -------------------------------------------------------------------------------------

    def query_client(self, client_id: str) -> Any:
        """A client that is registered."""
        found = self.work.clients.by_id(client_id)
        return None if found is None else OAuthClient(found)

    def save_token(self, token: Any, request: Any) -> None:
        """Keep a login that begins; other grants keep what they issue themselves."""
        if request.payload.grant_type in {"authorization_code", DEVICE_CODE_GRANT_TYPE}:
            keep_family(self.work, token, request.client, request.user)

    def create_oauth2_request(self, request: Any) -> Request:
        """Authlib's form of a request."""
        return request if isinstance(request, Request) else Request(request)

    def handle_response(self, status: int, body: Any, headers: Any) -> Answer:
        """Our form of a response."""
        return Answer(status, body, dict(headers))

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens: what is worth telling stands in the audit log."""

    def _answered(self, asked: Asked, work: Callable[[Asked], Any]) -> Answer:
        try:
            return _answer(work(asked))
        except OAuth2Error as error:
            return _answer(self.handle_error_response(None, error))  # type: ignore[arg-type]  # it is not looked at
        except ValueError:  # Authlib quotes what it refuses, and cannot say it
            return Answer(400, {"error": "invalid_request"}, dict(JSON_HEADERS))

    def _endpoint(self, name: str, asked: Asked) -> Any:
        return self.create_endpoint_response(name, asked)  # type: ignore[no-untyped-call]

    def _told(self, answer: Any) -> Answer:
        found = _answer(answer)
        self._issuer.add_issuer_parameter(self, found)
        return found


class _Issuer(IssuerParameter):
    """Says who answers (RFC 9207), so that a client of several servers is not led to send one's code to another."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def get_issuer(self) -> str:
        return self._issuer


def _answer(found: Any) -> Answer:
    if not isinstance(found, Answer):
        raise TypeError(f"Authlib answered with a {type(found).__name__}")
    return found
