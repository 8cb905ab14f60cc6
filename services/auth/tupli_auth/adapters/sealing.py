"""What is kept in the database and must not be read out of it: sealed with the deployment's secret (AES-256-GCM)."""

import base64
import binascii
import hmac
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tupli_auth.core.errors import UnfitSetting

MIN_SECRET: Final = 32
_NONCE_BYTES: Final = 12
_PLACEHOLDERS: Final = ("change", "secret", "example", "default", "password", "tupli")


class Sealer:
    """Seals and opens with a key that is derived from the secret (HKDF, RFC 5869).

    Raises:
        UnfitSetting: The secret is short, or one that stands in somebody's example.
    """

    def __init__(self, secret: str) -> None:
        check_secret(secret)
        self._cipher = AESGCM(_derived(secret, b"tupli_auth sealing 1"))
        self._tags = _derived(secret, b"tupli_auth tags 1")

    def seal(self, plain: bytes, what: str) -> str:
        """A text that only this secret opens, as `what`."""
        nonce = os.urandom(_NONCE_BYTES)
        return base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, plain, what.encode())).decode()

    def tag(self, text: str) -> str:
        """What only who has the secret can say of a text (HMAC-SHA-256, in hexadecimal digits)."""
        return hmac.new(self._tags, text.encode(), "sha256").hexdigest()

    def open(self, sealed: str, what: str) -> bytes:
        """What was sealed as `what`.

        Raises:
            UnfitSetting: It was sealed with another secret, as something else, or was changed.
        """
        try:
            raw = base64.urlsafe_b64decode(sealed)
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], what.encode())
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise UnfitSetting(
                "TUPLI_AUTH_SECRET is not the one that the database was filled with"
            ) from error


def _derived(secret: str, what: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=what).derive(secret.encode())


def check_secret(secret: str) -> None:
    """See whether a secret is one.

    Raises:
        UnfitSetting: It is short, of few letters, or one that stands in somebody's example.
    """
    if len(secret) < MIN_SECRET:
        raise UnfitSetting(f"TUPLI_AUTH_SECRET has fewer than {MIN_SECRET} characters")
    if len(set(secret)) < 10 or any(word in secret.lower() for word in _PLACEHOLDERS):
        raise UnfitSetting("TUPLI_AUTH_SECRET is no secret: make one with `openssl rand -base64 32`")
