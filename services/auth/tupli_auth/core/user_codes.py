"""The codes that people type in on another device (RFC 8628 section 6.1): eight consonants, nothing that spells a word."""

from collections.abc import Callable
from typing import Final

LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
LENGTH: Final = 8


def make_user_code(random: bytes) -> str:
    """A code of 34 bits, as it is shown: `XXXX-XXXX`. Takes 16 random bytes."""
    number, letters = int.from_bytes(random, "big"), []
    for _ in range(LENGTH):
        number, letter = divmod(number, len(LETTERS))
        letters.append(LETTERS[letter])
    return f"{''.join(letters[:4])}-{''.join(letters[4:])}"


def typed(text: str) -> str | None:
    """What somebody typed, as it is compared, whatever stands between the letters; None where it is no code."""
    found = "".join(letter for letter in text.upper() if letter not in " -_.")
    return found if len(found) == LENGTH and set(found) <= set(LETTERS) else None


def mark(tag: Callable[[str], str], user_code: str) -> str:
    """What is kept of a code, made with the deployment's secret: so few bits would be guessed from a plain hash."""
    return tag(f"user code {typed(user_code)}")
