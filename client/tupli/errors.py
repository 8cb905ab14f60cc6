"""What the client raises.

    TupliError
    ├── TransportError         the server cannot be reached, or asks to try again
    ├── AuthError              no valid credential, or one without the right
    ├── NotFound               no such object, or none that the caller may see
    ├── Conflict               in conflict with what exists
    ├── InvalidInput           what was given cannot mean anything; `place` says where
    ├── IntegrityError         data does not match its digest
    ├── SpoolFull              recording was stopped because the spool had no room
    ├── UntrustedEnvironment   an environment that is not loaded from a server's word alone
    ├── TupliStorageError      the seed's name for what a storage raises
    └── ContractError          a filter, a value or an event that cannot mean anything (`FilterError` and others)

`TupliWarning` is what a run is told when recording met something that must not stop it.
"""

from typing import Final

from tupli_schemas.errors import TupliError
from tupli_schemas.problems import Problem

__all__ = [
    "AuthError",
    "Conflict",
    "IntegrityError",
    "InvalidInput",
    "NotFound",
    "SpoolFull",
    "TransportError",
    "TupliError",
    "TupliStorageError",
    "TupliWarning",
    "UntrustedEnvironment",
]


MAX_PAUSE: Final = 60.0
"""Seconds that a server may ask for before the next try."""


class TransportError(TupliError):
    """The server cannot be reached, or asks to try again; `retry_after` in seconds, when it said so."""

    def __init__(
        self, message: str = "", *, problem: Problem | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, problem=problem)
        self.retry_after = retry_after

    @property
    def pause(self) -> float:
        """Seconds to wait as the server asks, but no longer than a minute; 0 when it did not say."""
        return min(self.retry_after or 0.0, MAX_PAUSE)


class AuthError(TupliError):
    """No valid credential, or one without the right."""


class NotFound(TupliError):
    """No such object, or none that the caller may see."""


class Conflict(TupliError):
    """In conflict with what exists."""


class InvalidInput(TupliError):
    """What was given cannot mean anything; `place` says where."""


class IntegrityError(TupliError):
    """Data does not match its digest."""


class SpoolFull(TupliError):
    """Recording was stopped because the spool had no room."""


class UntrustedEnvironment(TupliError):
    """An environment that is not loaded from a server's word alone."""


class TupliStorageError(TupliError):
    """The seed's name for what a storage raises."""


class TupliWarning(UserWarning):
    """Recording met something that a run must not be stopped for."""


def error_of(problem: Problem, status: int, *, retry_after: float | None = None) -> TupliError:
    """The error that a problem document means to the caller."""
    text = problem.detail or f"the server answered {status}"
    if status == 401 or (status == 403 and problem.code != "foreign_origin"):
        return AuthError(text, problem=problem)
    if status == 404:
        return NotFound(text, place=problem.place, problem=problem)
    if status == 409:
        return Conflict(text, place=problem.place, problem=problem)
    if status == 429 or status >= 500:
        return TransportError(text, problem=problem, retry_after=retry_after)
    return InvalidInput(text, place=problem.place, problem=problem)
