"""Secrets that are shown once and kept as a hash: tokens, codes, client secrets.

A secret is `tupli_<kind>_<43 letters and digits><6 letters and digits>`: 256 random bits, and a checksum, so that what was
cut or mistyped is told apart from what was revoked without asking a database, and scanners of leaked secrets find it.
With so many random bits a plain SHA-256 is a safe way to keep it: there is nothing to guess.
"""

import hashlib
import zlib
from enum import StrEnum
from typing import Final

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_BYTES: Final = 32
_RANDOM_DIGITS: Final = 43
_CHECK_DIGITS: Final = 6


class SecretKind(StrEnum):
    """What a secret is for; part of its text."""

    CODE = "code"
    """An authorization code (RFC 6749 section 4.1)."""
    REFRESH = "rt"
    """A refresh token."""
    PERSONAL = "pat"
    """A personal access token."""
    CLIENT = "cs"
    """The secret of a confidential client."""
    SESSION = "sid"
    """A login on the pages."""
    DEVICE = "dc"
    """A device code (RFC 8628)."""
    SETUP = "setup"
    """The link of the first start."""


def make_secret(kind: SecretKind, random: bytes) -> str:
    """The text of a secret from 32 random bytes."""
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a secret takes {RANDOM_BYTES} random bytes, not {len(random)}")
    body = f"tupli_{kind}_{_in_digits(int.from_bytes(random, 'big'), _RANDOM_DIGITS)}"
    return body + _checksum(body)


def is_secret(kind: SecretKind, text: str) -> bool:
    """Whether this is the whole text of a secret of that kind; nothing is said of whether it holds."""
    length = len(f"tupli_{kind}_") + _RANDOM_DIGITS + _CHECK_DIGITS
    if len(text) != length or not text.isascii() or not text.startswith(f"tupli_{kind}_"):
        return False
    return _checksum(text[:-_CHECK_DIGITS]) == text[-_CHECK_DIGITS:]


def hash_of(secret: str) -> bytes:
    """What is kept of a secret: 32 bytes (SHA-256)."""
    return hashlib.sha256(secret.encode()).digest()


def successor_of(secret: str, nonce: bytes) -> str:
    """The refresh token that follows one: the same for everybody who has both that one and its 32-byte nonce.

    So an answer that was lost can be given again, and no token is ever kept.
    """
    derived = hashlib.blake2b(
        secret.encode(), key=nonce, digest_size=RANDOM_BYTES, person=b"tupli_rt"
    ).digest()
    return make_secret(SecretKind.REFRESH, derived)


def _checksum(text: str) -> str:
    return _in_digits(zlib.crc32(text.encode()), _CHECK_DIGITS)


def _in_digits(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
