"""The authorization code grant (RFC 6749 section 4.1) with PKCE (RFC 7636): S256, for every client."""

import re
from typing import Any, Final

from authlib.oauth2.rfc6749 import AuthorizationCodeGrant, InvalidRequestError
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7636.challenge import compare_s256_code_challenge

from tupli_auth.accounts.work import Login, Work
from tupli_auth.adapters.grants import Code, Family
from tupli_auth.adapters.people import User
from tupli_auth.core.scopes import text_of
from tupli_auth.core.secrets import RANDOM_BYTES, SecretKind, hash_of, is_secret, make_secret
from tupli_auth.oauth.models import ALL_METHODS, OAuthClient, TakenCode
from tupli_auth.oauth.tokens import id_token

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""SHA-256 in base64url (RFC 7636 section 4.2)."""


class S256Only(CodeChallenge):
    """PKCE as it has to be: Authlib's own lets it be left out, and takes `plain`, also where no method is named."""

    def __init__(self) -> None:
        super().__init__(required=True)
        self.DEFAULT_CODE_CHALLENGE_METHOD = "S256"
        self.SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]
        self.CODE_CHALLENGE_METHODS = {"S256": compare_s256_code_challenge}

    def validate_code_challenge(self, grant: Any, redirect_uri: Any) -> None:  # noqa: ARG002 -- Authlib's
        """See whether the request has a challenge.

        Raises:
            InvalidRequestError: It has none, or one of another kind.
        """
        given = grant.request.payload.data
        if given.get("code_challenge_method") != "S256":
            raise InvalidRequestError("code_challenge_method has to be S256")
        if _CHALLENGE.fullmatch(given.get("code_challenge", "")) is None:
            raise InvalidRequestError("code_challenge has to be the SHA-256 of a verifier, in base64url")


class CodeGrant(AuthorizationCodeGrant):
    """Codes hold for a minute, once. Who brings one again, and knows its verifier, ends what came of it."""

    TOKEN_ENDPOINT_AUTH_METHODS = ALL_METHODS

    @property
    def _work(self) -> Work:
        work: Work = self.server.work
        return work

    @staticmethod
    def validate_authorization_redirect_uri(request: Any, client: Any) -> str:
        """Where the code goes.

        Raises:
            InvalidRequestError: It is not said, or is none of the client's. Nothing is sent there.
        """
        asked = request.payload.redirect_uri
        if not asked or not client.check_redirect_uri(asked):
            raise InvalidRequestError("redirect_uri is none of the client's")
        return str(asked)

    def generate_authorization_code(self) -> str:
        """A code."""
        return make_secret(SecretKind.CODE, self._work.means.random(RANDOM_BYTES))

    def save_authorization_code(self, code: str, request: Any) -> None:
        """Keep a code's hash, and what it stands for."""
        work, given = self._work, request.payload.data
        work.grants.keep_code(
            Code(
                hash=hash_of(code),
                client=request.client.get_client_id(),
                user=request.user.id,
                redirect=given["redirect_uri"],
                scope=frozenset(request.scope.split()),
                challenge=given["code_challenge"],
                nonce=given.get("nonce"),
                logged_in_at=work.login.logged_in_at or work.now_ms,
                ends_at=work.now_ms + work.means.lifetimes.code_ms,
            )
        )
        work.audit.note("consent given", actor=request.user.id, client_id=request.client.get_client_id())

    def query_authorization_code(self, code: str, client: Any) -> TakenCode | None:
        """A code of that client, used or not, within its time."""
        found = self._work.grants.take_code(hash_of(code)) if is_secret(SecretKind.CODE, code) else None
        if found is None or found.client != client.get_client_id() or found.ends_at <= self._work.now_ms:
            return None
        return TakenCode(found)

    def authenticate_user(self, authorization_code: Any) -> User | None:
        """Whose code it is; None where it was used before: then what it was exchanged for ends.

        The verifier has been seen by now: who only saw a code ends nobody's login.
        """
        work, code = self._work, authorization_code.code
        if code.family is not None:
            if work.grants.revoke(code.family, "code used again", work.now_ms):
                work.audit.note("code used again", about=code.user, client_id=code.client)
            return None
        user = work.user(code.user)
        if user is not None:
            work.login = Login(work.means.new_id(), code.logged_in_at)
        return user

    def delete_authorization_code(self, authorization_code: Any) -> None:
        """Note that a code is used, and for what: Authlib would forget it, and who brings it again is not found out."""
        if (family := self._work.login.family) is not None:
            self._work.grants.use_code(authorization_code.code.hash, family)

    def create_token_response(self) -> Any:
        """The tokens; with an ID token where `openid` was asked for."""
        response: Any = super().create_token_response()
        request: Any = self.request
        code, token = request.authorization_code.code, response[1]
        if "openid" in code.scope:
            client = request.client.get_client_id()
            token["id_token"] = id_token(self._work, request.user, client, token["access_token"], code.nonce)
        return response


def keep_family(work: Work, token: dict[str, Any], client: OAuthClient, user: User) -> None:
    """Begin the family of a refresh token that was just issued."""
    family = work.login.family
    if "refresh_token" not in token or family is None:
        return
    lifetimes = work.means.lifetimes
    ends_at = work.now_ms + lifetimes.login_ms
    work.grants.begin(
        Family(
            id=family,
            client=client.get_client_id(),
            user=user.id,
            scope=frozenset(str(token.get("scope", "")).split()),
            logged_in_at=work.login.logged_in_at or work.now_ms,
            ends_at=ends_at,
        ),
        work.now_ms,
    )
    work.grants.add(
        hash_of(token["refresh_token"]), family, work.now_ms, min(work.now_ms + lifetimes.refresh_ms, ends_at)
    )
    work.audit.note(
        "tokens issued",
        actor=user.id,
        client_id=client.get_client_id(),
        scope=text_of(frozenset(str(token.get("scope", "")).split())),
    )
