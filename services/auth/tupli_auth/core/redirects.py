"""Where an authorization code may be sent (RFC 9700 section 2.1, RFC 8252 section 7.3)."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, urlsplit

LOOPBACK: Final = frozenset({"127.0.0.1", "[::1]"})
"""Addresses of the machine itself, by number: `localhost` may be somebody else's (RFC 8252 section 8.3)."""


def is_registered(asked: str, registered: Iterable[str]) -> bool:
    """Whether an address is one of a client's, letter by letter; of a loopback address the port is free."""
    return any(asked == one or _differ_in_port(asked, one) for one in registered)


def is_redirect(address: str) -> bool:
    """Whether an address may be registered: HTTPS, or HTTP on a loopback address; no fragment, no user, no controls."""
    found = _split(address)
    if found is None or found.fragment or "#" in address or "@" in found.netloc or not found.hostname:
        return False
    if found.scheme == "https":
        return True
    return found.scheme == "http" and _host(found) in LOOPBACK


def _differ_in_port(asked: str, registered: str) -> bool:
    one, other = _split(asked), _split(registered)
    if one is None or other is None or _host(other) not in LOOPBACK or other.scheme != "http":
        return False
    if not is_redirect(asked) or _port(one) == "":
        return False
    return _without_port(one) == _without_port(other)


def _split(address: str) -> SplitResult | None:
    if not address.startswith(("http://", "https://")):  # in small letters: urlsplit would make them so
        return None
    if (
        not address.isascii()
        or not address.isprintable()
        or any(letter in address for letter in ' \\"<>^`{|}')
    ):
        return None
    try:
        found = urlsplit(address)
        found.port  # noqa: B018 -- raises where it is none
    except ValueError:
        return None
    return found


def _host(found: SplitResult) -> str:
    """The host as it stands there, brackets and case and all."""
    netloc = found.netloc
    return (
        netloc[: netloc.index("]") + 1]
        if netloc.startswith("[") and "]" in netloc
        else netloc.partition(":")[0]
    )


def _port(found: SplitResult) -> str:
    """The port as it stands there."""
    return found.netloc[len(_host(found)) :].removeprefix(":")


def _without_port(found: SplitResult) -> tuple[str, ...]:
    return (found.scheme, _host(found), found.path, found.query)
