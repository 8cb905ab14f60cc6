"""A recorder's grant: the token that lets it write straight to Kafka, and the key that proves it is the one."""

import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tupli.errors import AuthError, InvalidInput, TupliError
from tupli_schemas.direct import SIGNATURE_BYTES, from_base64url
from tupli_schemas.errors import InvalidId
from tupli_schemas.ids import parse_id

MARGIN_S: Final = 5.0
"""So long before its end a grant is not used any more: what is on its way then would come too late."""
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
            found = json.loads(self.path.read_bytes())
            grant = _grant_of(found)
        except (OSError, KeyError, TypeError, ValueError) as error:
            told = f"{self.path} holds no grant ({type(error).__name__}: {error})"
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


def _grant_of(found: dict[str, Any]) -> RecorderGrant:
    token = found["token"].encode("ascii")
    claims = json.loads(from_base64url(token.split(b".")[1]))
    try:
        stream = None if claims.get("stream") is None else parse_id(claims["stream"])
        subject, benchmark = parse_id(claims["sub"]), parse_id(claims["benchmark"])
    except InvalidId as error:
        raise ValueError(str(error)) from error
    return RecorderGrant(
        token,
        str(claims["iss"]),
        subject,
        benchmark,
        stream,
        int(claims["iat"]),
        int(claims["exp"]),
        _signer(found["key"]),
    )


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
    if (key["kty"], key["crv"]) != ("EC", "P-256"):
        raise ValueError("its key is none of P-256")
    x, y, d = (int.from_bytes(from_base64url(key[name].encode()), "big") for name in ("x", "y", "d"))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())
    private = ec.EllipticCurvePrivateNumbers(d, public).private_key()
    algorithm, half = ec.ECDSA(hashes.SHA256()), SIGNATURE_BYTES // 2

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(message, algorithm))
        return r.to_bytes(half, "big") + s.to_bytes(half, "big")

    return sign
