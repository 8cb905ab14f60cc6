"""Addresses as settings and flags have them: brokers, ports."""

import re
from typing import Final

from tupli_schemas.errors import ContractError

_BROKER: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_MAX_PORT: Final = 65_535


def brokers_of(text: str) -> tuple[str, ...]:
    """The brokers of `host:port[,host:port]`; an address of IPv6 stands in brackets.

    Raises:
        ContractError: One is none.
    """
    found = tuple(part.strip() for part in text.split(","))
    for broker in found:
        match = _BROKER.fullmatch(broker)
        if match is None:
            raise ContractError(f"{broker!r} is no host:port of a broker", place="brokers")
        if not 1 <= int(match[1]) <= _MAX_PORT:
            raise ContractError(f"{broker}: a port is a number from 1 to {_MAX_PORT}", place="brokers")
    return found


def port(text: str) -> int:
    """A port of TCP, 0 for any free one; named as `argparse` tells what a flag takes.

    Raises:
        ValueError: It is none.
    """
    if not text.isascii() or not text.isdecimal() or int(text) > _MAX_PORT:
        raise ValueError(f"{text!r} is not a port: 0 to {_MAX_PORT}")
    return int(text)
