"""OAuth's endpoints for programs: token, revocation, introspection, userinfo, keys and metadata."""

from collections.abc import Callable
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from tupli_auth.accounts.work import Office
from tupli_auth.adapters.audit import Asker
from tupli_auth.core.scopes import SCOPES
from tupli_auth.http.forms import asked_of, asker_of
from tupli_auth.http.problems import Refusal
from tupli_auth.oauth.asked import Answer, Asked
from tupli_auth.oauth.endpoints import claims_in
from tupli_auth.oauth.models import ALL_METHODS, SECRET_METHODS
from tupli_auth.oauth.server import GRANT_TYPES, JSON_HEADERS, OAuthServer
from tupli_schemas.access_tokens import TokenRefused
from tupli_schemas.ids import id_text
from tupli_schemas.signed import ALGORITHM

KEYS_SECONDS: Final = 300
"""For so long a set of keys may be kept; a new key is published a day before it signs."""


def routes(office: Office) -> APIRouter:
    """The endpoints."""
    router = APIRouter()
    metadata = orjson.dumps(metadata_of(office.means.issuer))

    def serve(path: str, work: Callable[[OAuthServer, Asked], Answer]) -> None:
        async def endpoint(request: Request) -> Response:
            try:
                asked = await asked_of(request)
            except Refusal as error:  # in OAuth's form (RFC 6749 section 5.2)
                return _json({"error": "invalid_request", "error_description": error.detail}, error.status)
            return await run_in_threadpool(_run, office, asked, asker_of(request), work)

        router.add_api_route(path, endpoint, methods=["POST"], response_class=Response)

    serve("/oauth/token", OAuthServer.token)
    serve("/oauth/device", OAuthServer.device)
    serve("/oauth/revoke", OAuthServer.revoke)
    serve("/oauth/introspect", OAuthServer.introspect)

    @router.get("/oauth/jwks")
    async def jwks() -> Response:
        keys = await run_in_threadpool(office.signing_keys)
        body = orjson.dumps({"keys": [key.public() for key in keys]})
        return Response(
            body, headers={"Cache-Control": f"public, max-age={KEYS_SECONDS}"}, media_type="application/json"
        )

    @router.get("/.well-known/oauth-authorization-server")
    @router.get("/.well-known/openid-configuration")
    async def well_known() -> Response:
        return Response(metadata, media_type="application/json")

    @router.get("/oauth/userinfo")
    @router.post("/oauth/userinfo")
    async def userinfo(request: Request) -> Response:
        token = bearer_of(request)
        return _json(await run_in_threadpool(_userinfo, office, token, asker_of(request)))

    return router


def metadata_of(issuer: str) -> dict[str, Any]:
    """What the server can do (RFC 8414 section 2, OpenID Connect Discovery section 3)."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "device_authorization_endpoint": f"{issuer}/oauth/device",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "userinfo_endpoint": f"{issuer}/oauth/userinfo",
        "jwks_uri": f"{issuer}/oauth/jwks",
        "scopes_supported": sorted(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": list(ALL_METHODS),
        "revocation_endpoint_auth_methods_supported": list(ALL_METHODS),
        "introspection_endpoint_auth_methods_supported": list(SECRET_METHODS),
        "authorization_response_iss_parameter_supported": True,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "claims_supported": ["sub", "preferred_username", "iss", "aud", "exp", "iat", "auth_time", "nonce"],
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }


def bearer_of(request: Request) -> str:
    """The token of a request (RFC 6750 section 2.1): of the header alone.

    Raises:
        Refusal: There is none.
    """
    given = request.headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token:
        raise Refusal(
            401, "unauthenticated", "a bearer token is needed", headers={"WWW-Authenticate": "Bearer"}
        )
    return token


def _run(
    office: Office, asked: Asked, asker: Asker, work: Callable[[OAuthServer, Asked], Answer]
) -> Response:
    with office.work(asker) as made:
        return made_of(work(OAuthServer(made), asked))


def made_of(answer: Answer) -> Response:
    """HTTP's form of an answer."""
    body = answer.body if isinstance(answer.body, str) else orjson.dumps(_members(answer.body))
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-type"}
    return Response(body, answer.status, headers, answer.headers.get("Content-Type"))


def _members(body: Any) -> Any:
    """Authlib gives its errors as pairs."""
    return dict(body) if isinstance(body, list) else body


def _userinfo(office: Office, token: str, asker: Asker) -> dict[str, Any]:
    with office.look(asker) as work:
        try:
            claims = claims_in(work, token)
        except TokenRefused as error:
            raise _invalid(str(error)) from error
        user = work.user(claims.subject)
        family = None if claims.family is None else work.grants.look_at(claims.family)
        if user is None or (claims.family is not None and (family is None or family.revoked_at is not None)):
            raise _invalid("the token's login has ended")
        if "openid" not in claims.scope:
            challenge = {"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="openid"'}
            raise Refusal(403, "forbidden", "the token's scope is not openid", headers=challenge)
        return {"sub": id_text(user.id)} | (
            {"preferred_username": user.name} if "profile" in claims.scope else {}
        )


def _invalid(detail: str) -> Refusal:
    challenge = {"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{detail}"'}
    return Refusal(401, "unauthenticated", detail, headers=challenge)


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, dict(JSON_HEADERS), "application/json")
