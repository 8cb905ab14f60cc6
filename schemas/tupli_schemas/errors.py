"""What can be wrong with a contract.

    ContractError
    ├── InvalidId       text or bytes that are no Tupli id
    ├── FrameError      a framed body that is cut, damaged or over its limits
    ├── EventError      an event that breaks its contract
    ├── SchemaMismatch  values or columns that do not fit their step schema
    ├── ValueCodecError canonical bytes that cannot be decoded
    └── FilterError     a filter that cannot mean anything

Every error names the place (`place`) in the words of whoever wrote the input. They are `TupliError`s, as what
the client raises.
"""

from typing import TYPE_CHECKING

from tupli_schemas.paths import quoted

if TYPE_CHECKING:
    from tupli_schemas.problems import Problem


class TupliError(Exception):
    """Root of what is raised on purpose; `problem` is the server's document, when there is one."""

    def __init__(self, message: str = "", *, place: str = "", problem: "Problem | None" = None) -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.place = place
        self.problem = problem


class ContractError(TupliError, ValueError):
    """Input that breaks a contract; `place` says where."""

    def __init__(self, message: str, *, place: str = "") -> None:
        super().__init__(message, place=place)
        self.reason = message


class InvalidId(ContractError):
    """Text or bytes that are no Tupli id."""


class FrameError(ContractError):
    """A framed body that is cut, damaged or over its limits."""


class EventError(ContractError):
    """An event that breaks its contract."""


class SchemaMismatch(ContractError):
    """Values or columns that do not fit their step schema. The path of a leaf as its place is told as people write it."""

    def __init__(self, message: str, *, place: str = "") -> None:
        super().__init__(message, place=quoted(place))


class ValueCodecError(ContractError):
    """Canonical bytes that cannot be decoded."""


class FilterError(ContractError):
    """A filter that cannot mean anything."""
