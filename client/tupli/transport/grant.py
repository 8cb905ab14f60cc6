"""A recorder's grant: the token that lets it write straight to Kafka, and the key that proves it is the one."""

import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from tupli.errors import AuthError, InvalidInput, TupliError
from tupli_schemas.direct import SIGNATURE_BYTES, from_base64url
from tupli_schemas.errors import InvalidId
from tupli_schemas.ids import parse_id

MARGIN_S: Final = 5.0
"""So long before its end a grant is not used any more: what is on its way then would come too late."""
TOKEN_PARTS: Final = 3
M = TypeVar("M")
INSTALL: Final = "recording straight to Kafka needs more; install it with: pip install 'tupli[direct]'"


@dataclass(frozen=True, slots=True)
class RecorderGrant:
    """What a grant says, as its holder reads it (only the server verifies it); times in Unix seconds.

    `sign` gives the confirmation key's signature of a message.
    """

    token: bytes
    issuer: str
    subject: bytes
    benchmark: bytes
    stream: bytes | None
    issued_at: int
    expires_at: int
    sign: Callable[[bytes], bytes]


class GrantFile:
    """A file with a grant, as `tupli admin grant` writes it; read again when somebody puts a newer one there.

    Args:
        path: It, or `TUPLI_GRANT`.

    Raises:
        InvalidInput: There is none, or it is readable by others.
        TupliError: What it takes to sign is not installed.
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, now: Callable[[], float] = time.time) -> None:
        given = path or os.environ.get("TUPLI_GRANT")
        if not given:
            told = "straight to Kafka goes only who has a grant: give grant=, or set TUPLI_GRANT to its file"
            raise InvalidInput(told, place="grant")
        self.path = Path(given)
        self._now = now
        self._version: tuple[int, ...] = ()
        self._grant = self._read()

    @property
    def newest(self) -> RecorderGrant:
        """The grant, whether it holds or not.

        Raises:
            AuthError: The file was changed, and holds none any more.
        """
        try:
            if self._version != _version_of(self.path):
                self._grant = self._read()
        except InvalidInput as error:
            raise AuthError(str(error)) from error
        return self._grant

    def current(self) -> RecorderGrant:
        """The grant, which holds for a while.

        Raises:
            AuthError: It has expired, and there is no newer one yet.
        """
        grant = self.newest
        if self._now() >= grant.expires_at - MARGIN_S:
            raise AuthError(f"the grant in {self.path} has expired; put a newer one there")
        return grant

    def _read(self) -> RecorderGrant:
        try:
            version = _version_of(self.path)
            grant = _grant_of(_document(self.path))
        except _NoGrant as error:
            told = f"{self.path} holds no grant: {error} (`tupli admin grant` writes one)"
            raise InvalidInput(told, place="grant") from error
        if version[0] & (stat.S_IRWXG | stat.S_IRWXO):
            told = f"{self.path} can be read by others than its owner: chmod 600 {self.path}"
            raise InvalidInput(told, place="grant")
        self._version = version
        return grant


def _version_of(path: Path) -> tuple[int, ...]:
    """What changes when the file does, its mode first; empty when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (stat.S_IMODE(found.st_mode), found.st_ino, found.st_size, found.st_mtime_ns)


class _NoGrant(Exception):
    """What is wrong with a file, in words that hold nothing of what it says: that may be a secret."""


def _document(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise _NoGrant(f"it cannot be read ({error.strerror})") from error
    return _object(raw, "it")


def _object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _NoGrant(f"{what} is no JSON") from error
    if not isinstance(found, dict):
        raise _NoGrant(f"{what} is no JSON object")
    return found


def _grant_of(found: dict[str, Any]) -> RecorderGrant:
    token = _member(found, "token", str, "it")
    parts = token.split(".")
    if len(parts) != TOKEN_PARTS or not token.isascii():
        raise _NoGrant("its token is no signed JWT (RFC 7515)")
    try:
        payload = from_base64url(parts[1].encode())
    except ValueError as error:
        raise _NoGrant("its token's payload is no base64url") from error
    claims = _object(payload, "its token's payload")
    stream = claims.get("stream")
    return RecorderGrant(
        token.encode("ascii"),
        _member(claims, "iss", str, "its token"),
        _id(claims, "sub"),
        _id(claims, "benchmark"),
        None if stream is None else _id(claims, "stream"),
        _member(claims, "iat", int, "its token"),
        _member(claims, "exp", int, "its token"),
        _signer(_member(found, "key", dict, "it")),
    )


def _member(found: dict[str, Any], name: str, kind: type[M], what: str) -> M:
    value = found.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _NoGrant(f"{what} has no {name!r}, or not of the kind that it should be")
    return value


def _id(claims: dict[str, Any], name: str) -> bytes:
    try:
        return parse_id(_member(claims, name, str, "its token"))
    except InvalidId as error:
        raise _NoGrant(f"{name!r} of its token is no id") from error


def _signer(key: dict[str, Any]) -> Callable[[bytes], bytes]:
    """Signs with a P-256 key as ES256 does (RFC 7518 section 3.4)."""
    try:
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 -- an extra
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 -- as above
        from cryptography.hazmat.primitives.asymmetric.utils import (  # noqa: PLC0415 -- as above
            decode_dss_signature,
        )
    except ImportError as error:
        raise TupliError(INSTALL) from error
    if (key.get("kty"), key.get("crv")) != ("EC", "P-256"):
        raise _NoGrant("its key is none of P-256")
    try:
        x, y, d = (
            int.from_bytes(from_base64url(_member(key, name, str, "its key").encode()), "big")
            for name in ("x", "y", "d")
        )
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())
        private = ec.EllipticCurvePrivateNumbers(d, public).private_key()
    except ValueError as error:
        raise _NoGrant("its key is none of P-256") from error
    algorithm, half = ec.ECDSA(hashes.SHA256()), SIGNATURE_BYTES // 2

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(message, algorithm))
        return r.to_bytes(half, "big") + s.to_bytes(half, "big")

    return sign
