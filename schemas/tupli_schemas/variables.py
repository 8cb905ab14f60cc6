"""Names of environment variables that no process of ours reads: a misspelt setting would be none, in silence."""

import difflib
from collections.abc import Collection, Iterable
from typing import Final

PREFIX: Final = "TUPLI_"
OF_CLIENTS: Final = frozenset(
    PREFIX + name for name in ("URL", "TOKEN", "SPOOL_DIR", "SPOOL_LIMIT", "DATA", "GRANT")
)
"""What the client and `tupli up` read; it may be set everywhere."""
_OF_TESTS: Final = "TUPLI_TEST_"
_HOST_OF_SERVICE: Final = "_SERVICE_HOST"
_CUTOFF: Final = 0.6


def unknown_variables(
    given: Iterable[str], known: Collection[str], elsewhere: tuple[str, ...] = ()
) -> dict[str, str]:
    """The variables that begin with `TUPLI_` and mean nothing, each with the known name that is nearest, or "".

    Args:
        given: Names of all variables that are set; upper and lower case are the same.
        known: Names that this process reads.
        elsewhere: How names begin that other processes read, and judge.
    """
    names = sorted(name for name in given if name.upper().startswith(PREFIX))
    readable = {*known, *OF_CLIENTS}
    others = (*elsewhere, _OF_TESTS, *_of_services(names))
    unknown = (n for n in names if n.upper() not in readable and not n.upper().startswith(others))
    return {name: _nearest(name.upper(), readable) for name in unknown}


def variables_of(prefix: str, fields: Iterable[str]) -> set[str]:
    """The variables that the fields of settings are read from."""
    return {f"{prefix}{name}".upper() for name in fields}


def _of_services(names: Iterable[str]) -> list[str]:
    """How the names begin that Kubernetes sets for each service, as `TUPLI_GATEWAY_SERVICE_HOST` and `..._PORT_80_TCP`."""
    services = [n.removesuffix(_HOST_OF_SERVICE) for n in names if n.endswith(_HOST_OF_SERVICE)]
    return [begin for service in services for begin in (f"{service}_SERVICE_", f"{service}_PORT")]


def _nearest(name: str, known: Iterable[str]) -> str:
    """What all of them begin with says nothing about how near they are."""
    ends = sorted(one.removeprefix(PREFIX) for one in known)
    found = difflib.get_close_matches(name.removeprefix(PREFIX), ends, n=1, cutoff=_CUTOFF)
    return PREFIX + found[0] if found else ""
