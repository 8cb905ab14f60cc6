"""Access tokens (RFC 9068), as every service verifies them: by itself, with the keys that auth publishes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from tupli_schemas.access import Reach
from tupli_schemas.errors import InvalidId
from tupli_schemas.ids import parse_id
from tupli_schemas.signed import ALGORITHM, CURVE, NotSigned, claims_of, header_of, time_of

ACCESS_KIND: Final = "at+jwt"
MAX_TOKEN_BYTES: Final = 4 * 1024
MAX_LIFETIME_S: Final = 600
"""A token that holds for longer is none (DESIGN 8)."""
LEEWAY_S: Final = 30
"""So far the clocks of two machines may be apart."""


class TokenRefused(ValueError):
    """A token that says nothing about who is calling; the message says why, and holds nothing of it."""


class UnknownKey(TokenRefused):
    """A token that names a key that is not among those that are known: it may be a new one."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says: who (`subject`) asks through which program (`client`), and what it lets through (`scope`).

    `family` is the login that it came of, None where nobody logged in; times are Unix seconds.
    """

    subject: bytes
    client: str
    scope: frozenset[str]
    family: bytes | None
    token_id: str
    issued_at: int
    ends_at: int
    logged_in_at: int | None

    @property
    def reach(self) -> frozenset[Reach]:
        """The words of the scope that are rights' limits (`Access.reach`)."""
        return frozenset(word for word in Reach if word in self.scope)


@dataclass(frozen=True, slots=True)
class Expected:
    """Who issues tokens, and what for."""

    issuer: str
    audience: str


def public_keys(document: Any) -> dict[str, ECKey]:
    """The keys of a JWK Set (RFC 7517) by their ids; those of other kinds are left out.

    Raises:
        ValueError: It is no set of public keys.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("keys"), list):
        raise ValueError("this is no set of keys")  # noqa: TRY004 -- input of somebody else's, not a type of ours
    found: dict[str, ECKey] = {}
    for member in document["keys"]:
        if not isinstance(member, Mapping) or "d" in member:
            raise ValueError("a member of the set is no public key")
        if (member.get("kty"), member.get("crv"), member.get("alg", ALGORITHM)) != ("EC", CURVE, ALGORITHM):
            continue
        if member.get("use", "sig") != "sig" or not isinstance(member.get("kid"), str):
            continue
        try:
            found[member["kid"]] = ECKey.import_key({name: member[name] for name in ("kty", "crv", "x", "y")})
        except (JoseError, KeyError, ValueError, TypeError) as error:
            raise ValueError("a member of the set is no public key") from error
    return found


def verified(token: str, keys: Mapping[str, ECKey], expected: Expected, now_s: float) -> Claims:
    """What a token says, when it may be believed.

    Raises:
        UnknownKey: It names a key that is not among these.
        TokenRefused: It may not be believed.
    """
    try:
        raw = token.encode("ascii")
        header = header_of(raw, ACCESS_KIND, what="token", most_bytes=MAX_TOKEN_BYTES)
        key = keys.get(header["kid"])
        if key is None:
            raise UnknownKey("the token names a key that is not known")
        members = claims_of(raw, key, what="token")
    except UnicodeEncodeError as error:
        raise TokenRefused("the token is no JSON Web Token") from error
    except NotSigned as error:
        raise TokenRefused(str(error)) from error
    try:
        claims = _claims(members, expected)
    except KeyError as error:
        raise TokenRefused(f"the token has no {error}") from error
    except (TypeError, InvalidId) as error:
        raise TokenRefused("a claim of the token is not of the kind that it should be") from error
    except ValueError as error:
        raise TokenRefused(f"the token is none ({error})") from error
    if now_s >= claims.ends_at:
        raise TokenRefused("the token has expired")
    if now_s < claims.issued_at - LEEWAY_S:
        raise TokenRefused("the token does not hold yet")
    return claims


def _claims(members: Any, expected: Expected) -> Claims:
    if not isinstance(members, dict) or members["iss"] != expected.issuer:
        raise ValueError("another one issued it")
    audience = members["aud"]
    if expected.audience not in (audience if isinstance(audience, list) else [audience]):
        raise ValueError("it is for another service")
    issued_at, ends_at = time_of(members, "iat"), time_of(members, "exp")
    if issued_at is None or ends_at is None or not 0 < ends_at - issued_at <= MAX_LIFETIME_S:
        raise ValueError(f"it does not end within {MAX_LIFETIME_S} s of its beginning")
    texts = {name: members[name] for name in ("client_id", "scope", "jti")}
    if not all(isinstance(value, str) for value in texts.values()):
        raise TypeError
    return Claims(
        subject=parse_id(members["sub"]),
        client=texts["client_id"],
        scope=frozenset(texts["scope"].split()),
        family=None if members.get("sid") is None else parse_id(members["sid"]),
        token_id=texts["jti"],
        issued_at=issued_at,
        ends_at=ends_at,
        logged_in_at=time_of(members, "auth_time"),
    )
