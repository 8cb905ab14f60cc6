"""Recording grants, verified: JSON Web Tokens (RFC 7519) signed with ES256 by a key of the deployment.

What may be is narrow (`tupli_schemas.signed`). A key that signs no more stays in the file with `retired_at`, so that what it signed is
judged in a year as on the first day; `revoked_at` is for a key that somebody else may have.
"""

import binascii
import json
import os
import stat
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from tupli_ingest.core.direct import Grant
from tupli_ingest.core.errors import GrantRefused
from tupli_schemas.direct import CLOCK_LEEWAY_S, GRANT_TYPE, MAX_GRANT_BYTES, from_base64url
from tupli_schemas.errors import InvalidId
from tupli_schemas.ids import is_direct, ordinal_of, parse_id
from tupli_schemas.signed import CURVE, NotSigned, claims_of, header_of, time_of

MAX_LIFETIME_S: Final = 31 * 24 * 3_600
"""A grant that is valid for longer is none: a retired key's are over by then, whatever time it wrote in them."""
MAX_REMEMBERED: Final = 1_024
"""Grants that are not verified again."""
MAX_SIGNATURES: Final = 64
"""Signatures of one confirmation key that are not verified again."""
_KEY_BYTES: Final = 32
_ECDSA: Final = ec.ECDSA(hashes.SHA256())


class KeyFileError(OSError):
    """The file of verifying keys cannot be used; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class GrantKey:
    """A verifying key: whose grants it signs, until when, and when its word was withdrawn (Unix seconds)."""

    key: ECKey
    issuer: str
    retired_at: int | None = None
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class _Verified:
    """A grant whose signature holds, and the times within which records may name it (Unix seconds)."""

    grant: Grant
    key: GrantKey
    issued_at: int
    begins_at: int
    ends_at: int


class GrantKeys:
    """`Grants` by the keys of a file (a JWK Set, RFC 7517), which is read again when it has changed.

    Without a file there are no keys. A change that cannot be read is told, and the keys stay as they were.

    Raises:
        KeyFileError: The file cannot be read, or is none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._log = structlog.get_logger("tupli_ingest.grant_keys")
        self._seen = _version_of(path)
        try:
            self._keys = {} if path is None else read_keys(path)
        except KeyFileError as error:
            raise KeyFileError(f"TUPLI_INGEST_GRANT_KEYS: {error}") from error
        self._known: OrderedDict[bytes, _Verified | str] = OrderedDict()

    def _refresh(self) -> None:
        """Look whether the file has changed."""
        version = _version_of(self._path)
        if self._path is None or version == self._seen:
            return
        self._seen = version
        try:
            self._keys = read_keys(self._path)
        except KeyFileError as error:
            self._log.error("the keys of grants stay as they were", reason=str(error))
            return
        self._known.clear()
        self._log.info("the keys of grants were read again", keys=len(self._keys))

    def verified(self, token: bytes, appended_ms: int) -> Grant:
        """See `Grants.verified`."""
        self._refresh()
        found = self._known.get(token)
        if found is None:
            try:
                found = self._verify(token)
            except GrantRefused as error:
                found = str(error)
            self._known[token] = found
            if len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        if isinstance(found, str):
            raise GrantRefused(found)
        _check_times(found, appended_ms / 1_000)
        return found.grant

    def _verify(self, token: bytes) -> _Verified:
        if not self._keys:
            raise GrantRefused("no keys of grants are set (TUPLI_INGEST_GRANT_KEYS)")
        try:
            header = header_of(token, GRANT_TYPE, what="grant", most_bytes=MAX_GRANT_BYTES)
            key = self._keys.get(header["kid"])
            if key is None:
                raise GrantRefused("the grant names a key that is not among those of grants")
            claims = claims_of(token, key.key, what="grant")
        except NotSigned as error:
            raise GrantRefused(str(error)) from error
        try:
            return _verified(claims, key)
        except KeyError as error:
            raise GrantRefused(f"the grant has no {error}") from error
        except (TypeError, InvalidId, binascii.Error) as error:
            raise GrantRefused("a claim of the grant is not of the kind that it should be") from error
        except ValueError as error:
            raise GrantRefused(f"the grant is none ({error})") from error


def read_keys(path: Path) -> dict[str, GrantKey]:
    """The keys of a file, by their id.

    Raises:
        KeyFileError: It cannot be read, or is no set of ES256's public keys that name their issuer.
    """
    try:
        found = json.loads(path.read_bytes())["keys"]
        keys = {str(one["kid"]): _key_of(one) for one in found}
    except (OSError, JoseError, KeyError, TypeError, ValueError) as error:
        raise KeyFileError(f"{path} holds no keys of grants ({type(error).__name__}: {error})") from error
    if len(keys) != len(found):
        raise KeyFileError(f"{path} has two keys of one id")
    return keys


def _key_of(member: dict[str, Any]) -> GrantKey:
    if "d" in member:
        raise ValueError("a private key stands where public ones belong")
    if member.get("kty") != "EC" or member.get("crv") != CURVE or not member["kid"]:
        raise ValueError(f"only {CURVE} keys with a kid verify grants")
    public = {name: member[name] for name in ("kty", "crv", "x", "y")}
    times = (time_of(member, "retired_at"), time_of(member, "revoked_at"))
    return GrantKey(ECKey.import_key(public), str(member["iss"]), *times)


def _verified(claims: Any, key: GrantKey) -> _Verified:
    if not isinstance(claims, dict) or claims["iss"] != key.issuer:
        raise ValueError("its issuer is not its key's")
    issued_at, ends_at = time_of(claims, "iat"), time_of(claims, "exp")
    if issued_at is None or ends_at is None or not 0 < ends_at - issued_at <= MAX_LIFETIME_S:
        raise ValueError(f"it does not end within {MAX_LIFETIME_S} s of its beginning")
    stream = None if claims.get("stream") is None else parse_id(claims["stream"])
    if stream is not None and (not is_direct(stream) or ordinal_of(stream)):
        raise ValueError("its stream is none that goes straight to Kafka")
    grant = Grant(
        subject=parse_id(claims["sub"]),
        benchmark=parse_id(claims["benchmark"]),
        stream=stream,
        is_signature=_confirmation(claims["cnf"]["jwk"]),
    )
    return _Verified(grant, key, issued_at, max(issued_at, time_of(claims, "nbf") or 0), ends_at)


def _check_times(found: _Verified, appended: float) -> None:
    """Whether a grant allowed records then, by the brokers' clock alone."""
    key = found.key
    if appended >= found.ends_at:
        raise GrantRefused("the grant had expired when the record was appended")
    if appended < found.begins_at - CLOCK_LEEWAY_S:
        raise GrantRefused("the grant did not hold yet when the record was appended")
    if key.retired_at is not None and found.issued_at > key.retired_at:
        raise GrantRefused("the grant was issued after its key had been retired")
    if key.revoked_at is not None and appended >= key.revoked_at:
        raise GrantRefused("the grant's key had been revoked when the record was appended")


class _Confirmation:
    """Verifies with a confirmation key (RFC 7800). Signatures that hold are remembered: a request's records share one."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key
        self._held: OrderedDict[bytes, None] = OrderedDict()

    def __call__(self, signature: bytes, message: bytes) -> bool:
        if signature + message in self._held:
            return True
        numbers = (int.from_bytes(half, "big") for half in (signature[:_KEY_BYTES], signature[_KEY_BYTES:]))
        try:
            self._key.verify(encode_dss_signature(*numbers), message, _ECDSA)
        except InvalidSignature:
            return False
        self._held[signature + message] = None
        if len(self._held) > MAX_SIGNATURES:
            self._held.popitem(last=False)
        return True


def _confirmation(key: Any) -> _Confirmation:
    if not isinstance(key, dict) or (key.get("kty"), key.get("crv")) != ("EC", CURVE) or "d" in key:
        raise ValueError(f"its confirmation key is no public key of {CURVE}")
    x, y = (int.from_bytes(from_base64url(str(key[name]).encode()), "big") for name in ("x", "y"))
    return _Confirmation(ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key())


def _version_of(path: Path | None) -> tuple[int, ...]:
    """What changes when a file does; empty when it is not there."""
    if path is None:
        return ()
    try:
        found = os.stat(path)  # noqa: PTH116 -- a Path has it too, for three times the time
    except OSError:
        return ()
    return (stat.S_IFMT(found.st_mode), found.st_ino, found.st_size, found.st_mtime_ns)
