"""Which passwords may be set (NIST SP 800-63B section 5.1.1.2): their length and whether everybody knows them.

What they are made of is nobody's business: no rule asks for a digit or a sign.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tupli_auth.core.errors import PasswordRefused

MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 256


@dataclass(frozen=True, slots=True)
class PasswordRules:
    """What is checked when a password is set, and never afterwards; lengths in characters.

    `is_common` says whether a password, in small letters, is among those that everybody tries first.
    """

    is_common: Callable[[str], bool]
    min_length: int = MIN_LENGTH
    max_length: int = MAX_LENGTH

    def check(self, password: str, *known: str) -> str:
        """The password as it is hashed; `known` are the names of whose it is and of the service.

        Raises:
            PasswordRefused: It is too short, too long, common, or made of what is known.
        """
        given = normal(password)
        if len(given) < self.min_length:
            raise PasswordRefused(f"a password has at least {self.min_length} characters")
        if len(given) > self.max_length:
            raise PasswordRefused(f"a password has at most {self.max_length} characters")
        small = given.casefold()
        if any(self.is_common(one) for one in (small, _core(small), _repeated(small))):
            raise PasswordRefused("this password is one of those that are tried first")
        if any(name and _core(small) == _core(name.casefold()) for name in known):
            raise PasswordRefused("a password is not one's name")
        return given


def normal(password: str) -> str:
    """The same characters however a keyboard composes them (NFC)."""
    return unicodedata.normalize("NFC", password)


def _core(password: str) -> str:
    """Without the digits and signs that are put behind a word to make it longer."""
    return password.rstrip("0123456789!?.,-_*#$%&+=@ ")


def _repeated(password: str) -> str:
    """What a password is that is said several times over."""
    return password[: (password * 2).find(password, 1)]
