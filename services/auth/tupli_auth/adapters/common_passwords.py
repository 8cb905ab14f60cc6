"""Which passwords everybody tries first: the frequency list of zxcvbn (30,000 of them, from leaked ones)."""

from functools import cache

from zxcvbn.frequency_lists import FREQUENCY_LISTS


@cache
def _common() -> frozenset[str]:
    return frozenset(word for word in FREQUENCY_LISTS["passwords"])


def is_common(password: str) -> bool:
    """Whether a password, in small letters, is among them."""
    return password in _common()
