"""Environment variables by their names: those that no process of ours reads, and those that hold what is none."""

import difflib
from collections.abc import Collection, Iterable
from typing import Any, Final, Protocol

PREFIX: Final = "TUPLI_"
OF_CLIENTS: Final = frozenset(
    PREFIX + name for name in ("URL", "TOKEN", "SPOOL_DIR", "SPOOL_LIMIT", "DATA", "GRANT")
)
"""What the client and `tupli up` read; it may be set everywhere."""
_OF_TESTS: Final = "TUPLI_TEST_"
_HOST_OF_SERVICE: Final = "_SERVICE_HOST"
_CUTOFF: Final = 0.6


class WrongSettings(Protocol):
    """What settings raise that cannot be read: Pydantic's `ValidationError`."""

    @property
    def title(self) -> str:
        """The settings' class."""
        ...

    def errors(self) -> list[Any]:
        """What is wrong: `loc`, `type` and `msg` of each."""
        ...


def wrong_variables(error: WrongSettings, settings: Iterable[type[Any]]) -> str:
    """What is wrong with settings, on one line, by the variables that have them; nothing of what those hold.

    Args:
        error: What reading them raised.
        settings: Classes that it may be about.
    """
    prefixes = {one.__name__: str(one.model_config["env_prefix"]) for one in settings}
    prefix = prefixes.get(error.title)
    return str(error) if prefix is None else "; ".join(_wrong(prefix, one) for one in error.errors())


def _wrong(prefix: str, problem: Any) -> str:
    name = f"{prefix}{problem['loc'][0]}".upper() if problem["loc"] else f"{prefix}*"
    if problem["type"] == "missing":
        return f"{name} is not set"
    return f"{name}: {problem['msg'].removeprefix('Value error, ')}"


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
